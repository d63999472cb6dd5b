//! Coming into an account without its password: the new device shows a code, a device that is in the
//! account already lets it in, and the new one gets tokens for its key.
//!
//! The code holds the new device's public key and nothing secret: who copies it has nothing.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use iris_core::id::{PublicKey, encoding};
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout_at};

use crate::account::{TokenAnswer, keep, with_key};
use crate::connector::Connector;
use crate::error::ClientError;
use crate::net::{self, HttpError};
use crate::store::Store;

const PREFIX: &str = "iris-link:";
const VERSION: u8 = 1;
const CHECK_BYTES: usize = 2;
const CODE_BYTES: usize = 1 + 32 + CHECK_BYTES;
/// Characters between two hyphens.
const GROUP: usize = 8;
/// The least wait before the server is asked again: a person walks from one device to the other.
const ASK_AGAIN_MIN: Duration = Duration::from_secs(1);
/// Nobody waits for longer.
const PATIENCE_MAX: Duration = Duration::from_secs(365 * 86_400);
/// The wait after it could not be reached.
const UNREACHABLE_PAUSE: Duration = Duration::from_secs(1);
/// Codes of the protocol.
const NOT_FOUND: u32 = 4203;
const RATE_LIMITED: u32 = 4290;

/// Names a new device to a device that is in the account: short enough to be typed, and good for a QR
/// code as it is or in upper case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkCode(PublicKey);

/// Why a text is no link code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCode {
    /// It has too few or too many characters, or others than a code has.
    #[error(
        "not a link code: it is `iris-link:` and 56 letters and digits, as the new device shows it"
    )]
    Form,
    /// A character is wrong.
    #[error("a character of the link code is wrong: compare it with the new device")]
    Mistyped,
    /// A later version made it.
    #[error("this link code was made by a newer version: bring this device up to date")]
    Newer,
}

impl LinkCode {
    /// The code of a device with this key.
    pub fn new(key: PublicKey) -> Self {
        Self(key)
    }

    /// The new device's key.
    pub fn key(self) -> PublicKey {
        self.0
    }
}

impl fmt::Display for LinkCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [&[VERSION][..], &self.0.0].concat();
        let text = encoding().encode(&[&named[..], &check(&named)].concat());
        f.write_str(PREFIX)?;
        for (n, c) in text.chars().enumerate() {
            let hyphen = if n > 0 && n % GROUP == 0 { "-" } else { "" };
            write!(f, "{hyphen}{c}")?;
        }
        Ok(())
    }
}

impl FromStr for LinkCode {
    type Err = BadCode;

    /// Upper case, hyphens, spaces and a missing prefix make no difference.
    fn from_str(text: &str) -> Result<Self, BadCode> {
        let spelled = |c: &char| !c.is_whitespace() && *c != '-';
        let most = PREFIX.len() + 2 * CODE_BYTES;
        let text: String = text.chars().filter(spelled).take(most).collect();
        let text = text.to_ascii_lowercase();
        let named = text.strip_prefix("irislink:");
        let text = named.unwrap_or(&text);
        let bytes = encoding().decode(text.as_bytes()).map_err(|_| BadCode::Form)?;
        let (version, _) = bytes.split_first().ok_or(BadCode::Form)?;
        if bytes.len() != CODE_BYTES {
            let newer = named.is_some() && *version > VERSION;
            return Err(if newer { BadCode::Newer } else { BadCode::Form });
        }
        let (named, checked) = bytes.split_at(CODE_BYTES - CHECK_BYTES);
        if checked != check(named) {
            return Err(BadCode::Mistyped);
        }
        if *version != VERSION {
            return Err(BadCode::Newer);
        }
        PublicKey::from_bytes(&named[1..]).map(Self).map_err(|_| BadCode::Form)
    }
}

/// Finds a mistyped character; no protection against anybody, and none is needed.
fn check(named: &[u8]) -> [u8; CHECK_BYTES] {
    let digest = digest(&SHA256, named);
    [digest.as_ref()[0], digest.as_ref()[1]]
}

#[derive(Serialize)]
struct LinkRequest<'a> {
    handle: &'a str,
    tenant: &'a str,
    public_key: String,
    proof: String,
}

/// The code that this device shows; the same one each time. Its key is on the disk from then on.
///
/// # Errors
/// When the device has an account already, or its store or the system refuses.
pub async fn link_code<S: Store>(store: S) -> Result<(S, LinkCode), ClientError> {
    if let Some(login) = &store.state().login {
        return Err(ClientError::LoggedIn { handle: login.handle.clone() });
    }
    let (store, key) = with_key(store).await?;
    Ok((store, LinkCode(key.public())))
}

/// Waits until a device of the account of `handle` let this one in by its [`link_code`], for at most
/// `patience`. Dropping the future is harmless: the store keeps the key, and the code stays the same.
///
/// # Errors
/// [`ClientError::NotLinked`] when nobody did in time; when the server refuses, or cannot be reached in
/// that time; when the device has an account already.
pub async fn link<S: Store>(
    connector: &Connector,
    store: S,
    (handle, tenant): (&str, &str),
    patience: Duration,
) -> Result<S, ClientError> {
    let until = Instant::now() + patience.min(PATIENCE_MAX);
    let (store, _) = link_code(store).await?;
    let (store, key) = with_key(store).await?;
    let handle = handle.to_ascii_lowercase();
    let request = LinkRequest {
        handle: &handle,
        tenant,
        public_key: BASE64URL_NOPAD.encode(&key.public().0),
        proof: BASE64URL_NOPAD.encode(&key.prove_link(tenant, &handle)),
    };
    let mut pending = false;
    loop {
        let asked = net::post::<TokenAnswer>(connector, "/v1/link", &request);
        let late = |_| Err(HttpError::Unreachable("no answer in time".to_owned()));
        let error = match timeout_at(until, asked).await.unwrap_or_else(late) {
            Ok(answer) => {
                let name = answer.device_name.clone();
                return keep(store, (handle, tenant.to_owned(), name), answer).await;
            }
            Err(error) => error,
        };
        let left = until.saturating_duration_since(Instant::now());
        pending |= is_pending(&error);
        // Of a region whose edges are being replaced some do not know the path yet.
        let unknown = (pending && is_no_path(&error)).then_some(ASK_AGAIN_MIN);
        match ask_again(&error).or(unknown) {
            // Those who wait do not ask all at once.
            Some(wait) if wait < left => sleep(wait.mul_f64(1.0 + fastrand::f64() / 2.0)).await,
            // What was answered last before the time was over says more than that it is over.
            Some(_) if pending => return Err(ClientError::NotLinked { handle }),
            Some(_) | None => return Err(refused(error)),
        }
    }
}

/// After which time to ask again; nothing when that cannot help.
fn ask_again(error: &HttpError) -> Option<Duration> {
    match error {
        HttpError::Unreachable(_) => Some(UNREACHABLE_PAUSE),
        HttpError::Refused { code, retry_after_ms, .. }
            if is_pending(error) || *code == RATE_LIMITED || *code >= 5000 =>
        {
            Some(Duration::from_millis((*retry_after_ms).into()).max(ASK_AGAIN_MIN))
        }
        HttpError::Refused { .. } | HttpError::Malformed(_) => None,
    }
}

/// Whether nobody let the device in yet.
fn is_pending(error: &HttpError) -> bool {
    matches!(error, HttpError::Refused { code, retry_after_ms: 1.., .. } if *code == NOT_FOUND)
}

/// Whether the server has no such path: the same code, without a time to come again.
fn is_no_path(error: &HttpError) -> bool {
    matches!(error, HttpError::Refused { code, retry_after_ms: 0, .. } if *code == NOT_FOUND)
}

fn refused(error: HttpError) -> ClientError {
    if is_no_path(&error) {
        let text = "this server links no devices: log in with the password";
        return ClientError::Config(text.to_owned());
    }
    error.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "iris-link:0400e3gn-3ghjmc9r-7x34tn2v-c9mq0xvy-gp6976n1-n2qvdfe4-sf9djp6h";

    fn code() -> LinkCode {
        LinkCode::new(PublicKey(std::array::from_fn(|n| u8::try_from(n * 7).unwrap())))
    }

    #[test]
    fn a_code_is_always_written_the_same() {
        assert_eq!(code().to_string(), TEXT);
        assert_eq!(TEXT.parse(), Ok(code()));
    }

    #[test]
    fn a_code_is_read_as_people_write_it() {
        let spaced = TEXT.replace('-', " ").replace("iris link", "Iris-Link");
        let bare = TEXT.trim_start_matches(PREFIX).replace('-', "");
        for text in [TEXT.to_uppercase(), spaced, bare, format!("  {TEXT}\n")] {
            assert_eq!(text.parse(), Ok(code()), "{text:?}");
        }
    }

    #[test]
    fn every_mistyped_character_is_found() {
        let (first, symbols) = (PREFIX.len(), "0123456789abcdefghjkmnpqrstvwxyz");
        let mut missed = 0;
        for at in (first..TEXT.len()).filter(|at| TEXT.as_bytes()[*at] != b'-') {
            for symbol in symbols.chars().filter(|c| !TEXT[at..].starts_with(*c)) {
                let mut text = TEXT.to_owned();
                text.replace_range(at..=at, &symbol.to_string());
                missed += u32::from(text.parse::<LinkCode>().is_ok());
            }
        }
        assert_eq!(missed, 0);
    }

    #[test]
    fn garbage_is_no_code() {
        let long = "z".repeat(1_000_000);
        let account = "u_01arz3ndektsv4rrffq69g5fav";
        for text in ["", "-", "iris-link:", "iris-link:0", account, "https://x/y", "ключ", &long]
        {
            assert_eq!(text.parse::<LinkCode>(), Err(BadCode::Form), "{text:.40}");
        }
        assert_eq!(format!("{TEXT}0").parse::<LinkCode>(), Err(BadCode::Form));
        assert_eq!(TEXT[..TEXT.len() - 1].parse::<LinkCode>(), Err(BadCode::Form));
    }

    #[test]
    fn a_code_of_a_later_version_says_so() {
        let named = [&[VERSION + 1][..], &[5; 32]].concat();
        let text = encoding().encode(&[&named[..], &check(&named)].concat());
        assert_eq!(text.parse::<LinkCode>(), Err(BadCode::Newer));
        let longer = encoding().encode(&[VERSION + 1; 60]);
        assert_eq!(format!("{PREFIX}{longer}").parse::<LinkCode>(), Err(BadCode::Newer));
    }
}
