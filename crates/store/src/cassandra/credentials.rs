//! Name and password, read from their files at every new connection: a password that was rotated is
//! in force with the next one. Never keeps either in memory, and never logs them.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use scylla::authentication::{AuthError, AuthenticatorProvider, AuthenticatorSession};

/// A directory with `username` and `password`.
#[derive(Debug)]
pub(super) struct Credentials {
    directory: PathBuf,
}

impl Credentials {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }
}

#[async_trait]
impl AuthenticatorProvider for Credentials {
    async fn start_authentication_session(
        &self,
        _authenticator_name: &str,
    ) -> Result<(Option<Vec<u8>>, Box<dyn AuthenticatorSession>), AuthError> {
        let username = read(&self.directory, "username")?;
        let password = read(&self.directory, "password")?;
        let plain = ["\0", &username, "\0", &password].concat().into_bytes();
        Ok((Some(plain), Box::new(Plain)))
    }
}

/// A Secret's file; people end files with a newline that is not part of them.
fn read(directory: &Path, name: &str) -> Result<String, AuthError> {
    let path = directory.join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
    }
}

/// One answer is all there is.
struct Plain;

#[async_trait]
impl AuthenticatorSession for Plain {
    async fn evaluate_challenge(
        &mut self,
        _token: Option<&[u8]>,
    ) -> Result<Option<Vec<u8>>, AuthError> {
        Err("Cassandra asks for more than a name and a password".to_owned())
    }

    async fn success(&mut self, _token: Option<&[u8]>) -> Result<(), AuthError> {
        Ok(())
    }
}
