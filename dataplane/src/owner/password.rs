//! Passwords: Argon2id, in a bounded number of blocking threads, so that guessing costs the guesser
//! more than it costs the shards.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

/// Passes over the memory (RFC 9106 asks for at least one; OWASP for two at 19 MiB).
const PASSES: u32 = 2;
/// Hashes computed at once: one core's worth.
const AT_ONCE: usize = 1;
/// Questions that wait for their turn; beyond it they are refused.
const WAITING_MAX: usize = 256;

/// Hashes and checks passwords.
#[derive(Debug, Clone)]
pub(super) struct Passwords {
    memory_kib: u32,
    at_once: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum PasswordError {
    /// Too many are asking.
    #[error("too many passwords are being checked")]
    Busy,
    /// The stored hash is unusable, or no hash can be made.
    #[error("the password cannot be hashed")]
    Unusable,
}

impl Passwords {
    /// With `memory_kib` of memory for each hash.
    pub(super) fn new(memory_kib: u32) -> Self {
        Self {
            memory_kib,
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
        }
    }

    /// The hash of a new password, with a salt of its own.
    pub(super) async fn hash(&self, password: String) -> Result<String, PasswordError> {
        let memory_kib = self.memory_kib;
        self.run(move || {
            let hash = hasher(memory_kib)?.hash_password(password.as_bytes());
            Ok(hash.map_err(|_| PasswordError::Unusable)?.to_string())
        })
        .await
    }

    /// Whether a password is the one behind a hash.
    pub(super) async fn verify(
        &self,
        password: String,
        hash: String,
    ) -> Result<bool, PasswordError> {
        let memory_kib = self.memory_kib;
        self.run(move || {
            let hash = PasswordHash::new(&hash).map_err(|_| PasswordError::Unusable)?;
            Ok(hasher(memory_kib)?.verify_password(password.as_bytes(), &hash).is_ok())
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let waiting = Arc::clone(&self.waiting).try_acquire_owned();
        let _waiting = waiting.map_err(|_| PasswordError::Busy)?;
        let permit = Arc::clone(&self.at_once).acquire_owned().await;
        let _permit = permit.map_err(|_| PasswordError::Busy)?;
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|_| PasswordError::Unusable)?
    }
}

fn hasher(memory_kib: u32) -> Result<Argon2<'static>, PasswordError> {
    let params = Params::new(memory_kib, PASSES, 1, None).map_err(|_| PasswordError::Unusable)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_the_only_one_that_fits() {
        let passwords = Passwords::new(64);
        let hash = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=2,p=1$"), "{hash}");
        let again = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert_ne!(hash, again, "each has a salt of its own");
        let check = |password: &str| passwords.verify(password.to_owned(), hash.clone());
        assert_eq!(check("correct horse").await, Ok(true));
        assert_eq!(check("correct horsf").await, Ok(false));
        assert_eq!(check("").await, Ok(false));
        let garbage = passwords.verify("x".to_owned(), "not a hash".to_owned()).await;
        assert_eq!(garbage, Err(PasswordError::Unusable));
    }

    #[tokio::test]
    async fn a_flood_of_guesses_is_refused() {
        let passwords = Passwords::new(64);
        let _all = passwords.waiting.acquire_many(256).await.unwrap();
        assert_eq!(passwords.hash("x".to_owned()).await, Err(PasswordError::Busy));
    }
}
