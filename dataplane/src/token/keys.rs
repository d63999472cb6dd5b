//! Keys of tokens: files that the operator rotates, read again while the process runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, EncodingKey};

/// How often the files are looked at; Kubernetes itself takes up to a minute to bring them.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file is missing or unreadable.
    #[error("cannot read {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its content is not what it should be.
    #[error("{path}: {reason}")]
    Content {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Public keys, by their names.
#[derive(Debug, Clone)]
pub struct VerifyingKeys {
    current: Arc<ArcSwap<Public>>,
}

struct Public {
    document: Bytes,
    keys: BTreeMap<String, Arc<DecodingKey>>,
}

impl std::fmt::Debug for Public {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.keys()).finish()
    }
}

impl VerifyingKeys {
    /// From `jwks.json` in `directory`.
    pub fn load(directory: &Path) -> Result<Self, KeyError> {
        let public = read_public(&directory.join("jwks.json"))?;
        Ok(Self { current: Arc::new(ArcSwap::from_pointee(public)) })
    }

    /// From a JWKS document.
    pub fn from_document(document: Bytes) -> Result<Self, KeyError> {
        let public = parse_public(Path::new("jwks.json"), document)?;
        Ok(Self { current: Arc::new(ArcSwap::from_pointee(public)) })
    }

    pub(super) fn find(&self, kid: &str) -> Option<Arc<DecodingKey>> {
        self.current.load().keys.get(kid).cloned()
    }

    pub(super) fn document(&self) -> Bytes {
        self.current.load().document.clone()
    }
}

/// The private key that signs now.
#[derive(Clone)]
pub struct SigningKeys {
    current: Arc<ArcSwap<Private>>,
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKeys({})", self.current().kid)
    }
}

pub(super) struct Private {
    pub(super) kid: String,
    pub(super) key: EncodingKey,
}

impl SigningKeys {
    /// From `signing.pem` (PKCS#8) and `kid` in `directory`.
    pub fn load(directory: &Path) -> Result<Self, KeyError> {
        Ok(Self { current: Arc::new(ArcSwap::from_pointee(read_private(directory)?)) })
    }

    /// From a PKCS#8 PEM text and the key's name.
    pub fn from_pem(pem: &[u8], kid: &str) -> Result<Self, KeyError> {
        let private = parse_private(Path::new("signing.pem"), pem, kid.to_owned())?;
        Ok(Self { current: Arc::new(ArcSwap::from_pointee(private)) })
    }

    pub(super) fn current(&self) -> Arc<Private> {
        self.current.load_full()
    }
}

/// Reads the public keys again whenever they change. A file that cannot be used changes nothing.
pub async fn reload_verifying(directory: PathBuf, keys: VerifyingKeys) {
    let path = directory.join("jwks.json");
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        match read_public(&path) {
            Ok(public) if public.document != keys.current.load().document => {
                tracing::info!(?public, "token keys changed");
                keys.current.store(Arc::new(public));
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "token keys stay as they were"),
        }
    }
}

/// Reads the private key again whenever it changes. A file that cannot be used changes nothing.
pub async fn reload_signing(directory: PathBuf, keys: SigningKeys) {
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        match read_private(&directory) {
            Ok(private) if private.kid != keys.current().kid => {
                tracing::info!(kid = private.kid, "the signing key changed");
                keys.current.store(Arc::new(private));
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the signing key stays as it was"),
        }
    }
}

fn read_public(path: &Path) -> Result<Public, KeyError> {
    parse_public(path, read(path)?.into())
}

fn parse_public(path: &Path, document: Bytes) -> Result<Public, KeyError> {
    let content = |reason: String| KeyError::Content { path: path.to_path_buf(), reason };
    let set: JwkSet = serde_json::from_slice(&document).map_err(|e| content(e.to_string()))?;
    let mut keys = BTreeMap::new();
    for jwk in &set.keys {
        let kid =
            jwk.common.key_id.clone().ok_or_else(|| content("a key has no kid".to_owned()))?;
        let key = DecodingKey::from_jwk(jwk).map_err(|e| content(format!("{kid}: {e}")))?;
        keys.insert(kid, Arc::new(key));
    }
    if keys.is_empty() {
        return Err(content("no keys".to_owned()));
    }
    Ok(Public { document, keys })
}

fn read_private(directory: &Path) -> Result<Private, KeyError> {
    let path = directory.join("signing.pem");
    let pem = read(&path)?;
    let kid = String::from_utf8_lossy(&read(&directory.join("kid"))?).trim().to_owned();
    parse_private(&path, &pem, kid)
}

fn parse_private(path: &Path, pem: &[u8], kid: String) -> Result<Private, KeyError> {
    let content = |reason: String| KeyError::Content { path: path.to_path_buf(), reason };
    let key = EncodingKey::from_ed_pem(pem).map_err(|e| content(e.to_string()))?;
    if kid.is_empty() {
        return Err(content("the file kid is empty".to_owned()));
    }
    Ok(Private { kid, key })
}

fn read(path: &Path) -> Result<Vec<u8>, KeyError> {
    std::fs::read(path).map_err(|source| KeyError::File { path: path.to_path_buf(), source })
}
