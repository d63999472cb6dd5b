//! What outlives `iris dev`: the store, the keys of tokens, and the certificate that clients trust.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use iris_runtime::local_pki::LocalPki;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::profile;

use super::DevArgs;

/// Says that a directory is ours, and what is in it.
const FACTS: &str = "iris-dev.json";
/// Written by this version.
const FORMAT: u32 = 1;

/// See the module.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    pub(super) facts: Facts,
}

/// What is fixed when a server is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    format: u32,
    pub(super) shards: u32,
    pub(super) kid: String,
    /// The names that the certificate is for.
    hostnames: Vec<String>,
}

impl Files {
    pub(super) fn open(args: &DevArgs) -> Result<Self, Failure> {
        let directory = match &args.dir {
            Some(directory) => directory.clone(),
            None => profile::default_directory("iris-dev").ok_or_else(|| {
                Failure::new("there is no home directory to keep the server in")
                    .hint("name a directory with --dir")
            })?,
        };
        if args.fresh {
            forget(&directory)?;
        }
        let known = match fs::read(directory.join(FACTS)) {
            Ok(bytes) => Some(serde_json::from_slice::<Facts>(&bytes).map_err(|error| {
                failed(&directory.join(FACTS), &error.to_string())
                    .hint("--fresh forgets what is there and begins anew")
            })?),
            Err(_) => None,
        };
        let hostnames = hostnames(args);
        let facts = match known {
            Some(facts) if facts.format != FORMAT => {
                return Err(failed(&directory, "another version of iris made this")
                    .hint("--fresh forgets what is there and begins anew"));
            }
            Some(facts) => facts,
            None => {
                private_directory(&directory)?;
                let kid = make_keys(&directory)?;
                Facts { format: FORMAT, shards: args.shards, kid, hostnames: Vec::new() }
            }
        };
        let mut files = Self { directory, facts };
        if files.facts.hostnames != hostnames {
            files.certify(&hostnames)?;
            files.facts.hostnames = hostnames;
            let facts = serde_json::to_vec(&files.facts).map_err(io::Error::from)?;
            // Last, so that what is named by it is there.
            write(&files.directory.join(FACTS), &facts)?;
        }
        Ok(files)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn store(&self) -> PathBuf {
        self.directory.join("store")
    }

    /// Certificate and key are `tls.crt` and `tls.key` in it.
    pub(super) fn listener(&self) -> PathBuf {
        self.directory.clone()
    }

    pub(super) fn ca(&self) -> PathBuf {
        self.directory.join("ca.crt")
    }

    pub(super) fn signing(&self) -> PathBuf {
        self.directory.join("signing.pem")
    }

    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>, Failure> {
        let path = self.directory.join(name);
        fs::read(&path).map_err(|error| failed(&path, &error.to_string()))
    }

    /// An authority of its own, and a certificate for these names.
    fn certify(&self, hostnames: &[String]) -> Result<(), Failure> {
        let failed = |error| Failure::new(format!("no certificate could be made: {error}"));
        let pki = LocalPki::new("local", "iris-dev").map_err(failed)?;
        let names: Vec<&str> = hostnames.iter().map(String::as_str).collect();
        let leaf = pki.server(&names).map_err(failed)?;
        write(&self.ca(), pki.trust().as_bytes())?;
        write(&self.directory.join("tls.crt"), leaf.chain.as_bytes())?;
        write(&self.directory.join("tls.key"), leaf.key.as_bytes())
    }
}

fn hostnames(args: &DevArgs) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.extend((!args.listen.is_unspecified()).then(|| args.listen.to_string()));
    names.extend(args.hostname.iter().cloned());
    names.sort();
    names.dedup();
    names
}

/// Makes the keys of tokens. Answers their name.
fn make_keys(directory: &Path) -> Result<String, Failure> {
    let failed = |_| Failure::new("no key for tokens could be made");
    let pair = Ed25519KeyPair::generate().map_err(failed)?;
    let der: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
    let body = BASE64.encode(der.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
    let public = pair.public_key().as_ref();
    let kid = BASE64URL_NOPAD.encode(&public[..8]);
    let jwks = serde_json::json!({"keys": [{
        "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid,
        "x": BASE64URL_NOPAD.encode(public),
    }]});
    write(&directory.join("signing.pem"), pem.as_bytes())?;
    write(&directory.join("jwks.json"), jwks.to_string().as_bytes())?;
    Ok(kid)
}

/// Removes a directory that `iris dev` made, and no other.
fn forget(directory: &Path) -> Result<(), Failure> {
    if !directory.exists() {
        return Ok(());
    }
    let ours = directory.join(FACTS).exists();
    let empty = fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none());
    if !ours && !empty {
        return Err(failed(directory, "iris dev did not make this, and does not delete it")
            .hint("name another directory with --dir"));
    }
    fs::remove_dir_all(directory).map_err(|error| failed(directory, &error.to_string()))
}

fn private_directory(directory: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|error| {
        failed(directory, &error.to_string()).hint("name another directory with --dir")
    })
}

/// Everything here is for its owner alone.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let written = || {
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    written().map_err(|error| failed(path, &error.to_string()))
}

fn failed(path: &Path, error: &str) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Command, Iris};

    fn args(directory: &Path, more: &[&str]) -> DevArgs {
        let directory = directory.to_str().unwrap();
        let words = [&["iris", "dev", "--dir", directory], more].concat();
        match Iris::try_parse_from(words).unwrap().command {
            Command::Dev(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_restart_finds_everything_and_fresh_finds_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("dev");
        let first = Files::open(&args(&home, &["--shards", "32"])).unwrap();
        let read = |name: &str| first.read(name).unwrap();
        let (ca, keys) = (read("ca.crt"), read("jwks.json"));
        let again = Files::open(&args(&home, &[])).unwrap();
        assert_eq!(again.facts, first.facts, "the shards stay as they were");
        assert_eq!((read("ca.crt"), read("jwks.json")), (ca.clone(), keys.clone()));
        Files::open(&args(&home, &["--hostname", "chat.test"])).unwrap();
        assert_ne!(read("ca.crt"), ca);
        assert_eq!(read("jwks.json"), keys);
        Files::open(&args(&home, &["--fresh"])).unwrap();
        assert_ne!(read("jwks.json"), keys);
    }

    #[test]
    fn nothing_of_others_is_deleted() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("thesis.txt"), "years").unwrap();
        let error = Files::open(&args(directory.path(), &["--fresh"])).unwrap_err();
        assert!(error.for_people().contains("--dir"), "{error:?}");
        assert!(directory.path().join("thesis.txt").exists());
    }
}
