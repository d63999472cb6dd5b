//! Cassandra's jars, from the cache that the development cluster uses too, or fetched into it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The repository's own list of what Cassandra needs.
const POM: &str = "dev/cassandra/pom.xml";

/// A file of the repository.
pub(super) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The directory with the jars; fetched unless the cache has them.
pub(super) fn directory() -> Result<PathBuf, String> {
    let pom = repository(POM);
    let text = fs::read(&pom).map_err(|error| format!("{POM} cannot be read: {error}"))?;
    let root = cache_root()?;
    let name = format!("cassandra-{}", key(&text));
    let entry = root.join(&name);
    if entry.is_dir() {
        return Ok(entry);
    }
    let scratch = root.join(format!(".new-{name}-{}-{}", std::process::id(), fastrand::u32(..)));
    fs::create_dir_all(&scratch).map_err(|error| format!("{} : {error}", scratch.display()))?;
    let fetched = fetch(&pom, &scratch).and_then(|()| match fs::rename(&scratch, &entry) {
        // Another process was faster; both fetched the same.
        Err(_) if entry.is_dir() => Ok(()),
        renamed => renamed.map_err(|error| format!("{} cannot be kept: {error}", entry.display())),
    });
    if scratch.exists() {
        fs::remove_dir_all(&scratch)
            .map_err(|error| format!("{} cannot be removed: {error}", scratch.display()))?;
    }
    fetched.map(|()| entry)
}

fn fetch(pom: &Path, to: &Path) -> Result<(), String> {
    let output = Command::new("mvn")
        .args(["--batch-mode", "--no-transfer-progress", "-f"])
        .arg(pom)
        .arg(format!("-Dlib={}", to.display()))
        .arg("package")
        .output()
        .map_err(|error| {
            format!("Cassandra's jars are not in the cache, and mvn cannot be started: {error}; install Maven")
        })?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("mvn could not fetch Cassandra: {}", String::from_utf8_lossy(&output.stdout)))
}

/// `$IRIS_CACHE`, else `iris` in the user's cache directory.
fn cache_root() -> Result<PathBuf, String> {
    let set = |name: &str| env::var_os(name).filter(|value| *value != OsString::new());
    match (set("IRIS_CACHE"), set("XDG_CACHE_HOME"), set("HOME")) {
        (Some(root), _, _) => Ok(PathBuf::from(root)),
        (None, Some(base), _) => Ok(PathBuf::from(base).join("iris")),
        (None, None, Some(home)) => Ok(PathBuf::from(home).join(".cache/iris")),
        (None, None, None) => Err("neither IRIS_CACHE nor HOME is set".to_owned()),
    }
}

/// The name of an entry that is made from one file, as the development cluster's cache has it: a
/// digest over the lengths and bytes of the file's relative name, which is empty, and its content.
fn key(content: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new();
    for input in [&[][..], content] {
        hasher.update(&(input.len() as u64).to_le_bytes());
        hasher.update(input);
    }
    hasher.finalize().to_hex().chars().take(12).collect()
}
