//! Libraries: under licences that let anybody use Iris, from the registry, none that does in C and
//! without safety what another does well.
//!
//! Never looks for advisories: that needs a database from the network, and `cargo deny`.

use std::collections::BTreeSet;

use anyhow::Result;

use super::Finding;
use crate::env::Env;

const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Libraries that may not be in the tree, and what does their work.
const BANNED: &[(&str, &str)] = &[
    ("openssl", "rustls"),
    ("openssl-sys", "rustls"),
    ("native-tls", "rustls"),
    ("ring", "aws-lc-rs"),
    ("async-std", "tokio"),
    ("serde_yaml", "serde-saphyr"),
];

/// A library that is really compiled in, as `cargo tree` prints it.
struct Library {
    name: String,
    /// Empty for one of the registry.
    source: String,
    licence: String,
}

pub(super) fn check(env: &Env) -> Result<Vec<Finding>> {
    let tree = env
        .cmd("cargo")
        .args(["tree", "--workspace", "--edges=normal,build", "--prefix=none", "--locked"])
        .args(["--offline", "--format={p};{l}"])
        .dir(&env.repo)
        .quiet()
        .output()?;
    let lines: BTreeSet<&str> = tree.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    let libraries = lines.into_iter().filter_map(library);
    Ok(libraries.flat_map(|library| findings(&library)).collect())
}

/// A line of `cargo tree`: `name v1.2.3 (source);licence`; nothing for one of ours.
fn library(line: &str) -> Option<Library> {
    let (package, licence) = line.split_once(';')?;
    let mut parts = package.splitn(3, ' ');
    let (name, version) = (parts.next()?, parts.next()?);
    let source = parts.next().unwrap_or_default().trim_matches(['(', ')']);
    let ours = source.starts_with('/');
    let source = if source == "proc-macro" { "" } else { source };
    let name = format!("{name} {version}");
    (!ours).then(|| Library { name, source: source.to_owned(), licence: licence.to_owned() })
}

fn findings(library: &Library) -> Vec<Finding> {
    let Library { name, source, licence } = library;
    let mut findings = Vec::new();
    if !source.is_empty() {
        findings.push(format!("{name} does not come from the registry"));
    }
    let bare = name.split(' ').next().unwrap_or_default();
    if let Some((_, instead)) = BANNED.iter().find(|(banned, _)| *banned == bare) {
        findings.push(format!("{name} may not be used: {instead} does its work"));
    }
    if !allowed(licence) {
        findings.push(format!("{name} is under {licence:?}, which is not allowed"));
    }
    findings
}

/// Whether one of the licences that an expression offers is allowed with all that it demands.
fn allowed(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], " ").replace('/', " OR ");
    let offers = plain.split(" OR ").map(str::trim);
    let known = |licence: &str| LICENCES.contains(&licence.trim());
    offers.clone().any(|offer| offer.split(" AND ").all(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_read_as_offers_and_demands() {
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "Apache-2.0 OR GPL-2.0",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "ISC AND (Apache-2.0 OR ISC)",
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
        ] {
            assert!(allowed(good), "{good}");
        }
        for bad in ["GPL-3.0", "MIT AND GPL-3.0", "SSPL-1.0", ""] {
            assert!(!allowed(bad), "{bad}");
        }
    }

    #[test]
    fn a_library_from_elsewhere_or_under_a_ban_is_found() {
        let found = |line: &str| library(line).map_or(9, |library| findings(&library).len());
        assert_eq!(found("good v1.0.0;MIT"), 0);
        assert_eq!(found("derive v1.0.0 (proc-macro);MIT OR Apache-2.0"), 0);
        assert_eq!(found("good v1.0.0 (https://example.org/x#abc);MIT"), 1);
        assert_eq!(found("openssl v1.0.0;Apache-2.0"), 1);
        assert_eq!(found("bad v1.0.0;GPL-3.0"), 1);
        assert_eq!(found("none v1.0.0;"), 1);
        assert_eq!(found("ours v1.0.0 (/x/y);"), 9, "ours are not looked at");
    }
}
