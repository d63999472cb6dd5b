//! Certificates, made with the `openssl` program: P-256 keys, each with the names and addresses
//! it is for.
//!
//! Never makes a certificate that outlives the development cluster's use by more than a year.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::env::Env;

const DAYS: &str = "365";

/// A certificate with its key, in two PEM files.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    /// The certificate.
    pub(crate) cert: PathBuf,
    /// The key.
    pub(crate) key: PathBuf,
}

/// A certificate authority in a directory, and what it has signed beside it.
#[derive(Debug)]
pub(crate) struct Authority {
    dir: PathBuf,
}

/// Who a certificate is for.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    /// The file name, and by default the common name.
    pub(crate) name: &'a str,
    /// `CN`: the user name, for Kubernetes.
    pub(crate) common_name: &'a str,
    /// `O`: the group, for Kubernetes.
    pub(crate) organization: Option<&'a str>,
    /// `DNS:name` and `IP:address`, for a server.
    pub(crate) alternatives: &'a [String],
}

impl Authority {
    /// The authority in `dir`, made if there is none.
    pub(crate) fn open(env: &Env, dir: PathBuf, name: &str) -> Result<Self> {
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {dir:?}"))?;
        let authority = Self { dir };
        let pair = authority.pair("ca");
        if !pair.cert.exists() {
            let extensions = [
                "basicConstraints=critical,CA:TRUE".to_owned(),
                "keyUsage=critical,keyCertSign,cRLSign".to_owned(),
            ];
            request(env, &pair, &format!("/CN={name}"), &extensions, &[])?;
        }
        Ok(authority)
    }

    /// The authority's own certificate.
    pub(crate) fn cert(&self) -> PathBuf {
        self.pair("ca").cert
    }

    /// The authority's own certificate and key.
    pub(crate) fn own(&self) -> Pair {
        self.pair("ca")
    }

    /// The certificate of this name, signed if there is none.
    pub(crate) fn issue(&self, env: &Env, subject: &Subject<'_>) -> Result<Pair> {
        let pair = self.pair(subject.name);
        if pair.cert.exists() {
            return Ok(pair);
        }
        let mut extensions = vec![
            "basicConstraints=critical,CA:FALSE".to_owned(),
            "keyUsage=critical,digitalSignature".to_owned(),
            "extendedKeyUsage=serverAuth,clientAuth".to_owned(),
        ];
        if !subject.alternatives.is_empty() {
            extensions.push(format!("subjectAltName={}", subject.alternatives.join(",")));
        }
        let group = subject.organization.map(|name| format!("/O={name}")).unwrap_or_default();
        let name = format!("{group}/CN={}", subject.common_name);
        let own = self.own();
        let signer = [Path::new("-CA"), &own.cert, Path::new("-CAkey"), &own.key];
        request(env, &pair, &name, &extensions, &signer)?;
        Ok(pair)
    }

    /// A key pair without a certificate, for signing tokens.
    pub(crate) fn token_keys(&self, env: &Env, name: &str) -> Result<Pair> {
        let pair = Pair {
            cert: self.dir.join(format!("{name}.pub")),
            key: self.dir.join(format!("{name}.key")),
        };
        if !pair.cert.exists() {
            let generate = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
            env.cmd("openssl").args(generate).arg("-out").arg(&pair.key).run()?;
            let public = ["pkey", "-pubout", "-in"];
            env.cmd("openssl").args(public).arg(&pair.key).arg("-out").arg(&pair.cert).run()?;
        }
        Ok(pair)
    }

    fn pair(&self, name: &str) -> Pair {
        Pair {
            cert: self.dir.join(format!("{name}.crt")),
            key: self.dir.join(format!("{name}.key")),
        }
    }
}

fn request(
    env: &Env,
    pair: &Pair,
    subject: &str,
    extensions: &[String],
    signer: &[&Path],
) -> Result<()> {
    // Written under another name first: a certificate that is there is whole.
    let draft = pair.cert.with_extension("new");
    let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    env.cmd("openssl")
        .args(["req", "-x509", "-batch", "-days", DAYS, "-subj", subject])
        // The machine's own configuration would add extensions of its own.
        .args(["-config", "/dev/stdin"])
        .stdin(configuration(extensions))
        .args(new_key)
        .args(signer)
        .arg("-keyout")
        .arg(&pair.key)
        .arg("-out")
        .arg(&draft)
        .run()?;
    fs::rename(&draft, &pair.cert).with_context(|| format!("cannot write {:?}", pair.cert))
}

fn configuration(extensions: &[String]) -> String {
    format!(
        "[req]\ndistinguished_name=dn\nx509_extensions=ext\n[dn]\n[ext]\n\
         subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n{}\n",
        extensions.join("\n")
    )
}
