//! What went wrong, and what to do about it.

use std::io;

use iris_client::{ClientError, Stop};
use iris_core::code::Code;
use serde::Serialize;

use crate::soak::named;

/// See the module.
#[derive(Debug, Serialize)]
pub struct Failure {
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// Nobody needs to be told.
    #[serde(skip)]
    silent: bool,
}

impl Failure {
    /// Without advice.
    pub fn new(error: impl Into<String>) -> Self {
        Self { error: error.into(), hint: None, silent: false }
    }

    /// The result itself says what is wrong: the program only has to end with a failure.
    pub fn told() -> Self {
        Self { error: "as told".to_owned(), hint: None, silent: true }
    }

    /// With advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.silent
    }

    pub(crate) fn for_people(&self) -> String {
        match &self.hint {
            Some(hint) => format!("error: {}\n  hint: {hint}", self.error),
            None => format!("error: {}", self.error),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // Whoever reads the results has seen enough.
        let silent = error.kind() == io::ErrorKind::BrokenPipe;
        Self { error: error.to_string(), hint: None, silent }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let hint = hint(&error);
        Self { error: error.to_string(), hint, silent: false }
    }
}

/// A message to somebody was refused.
pub(crate) fn refused_by_server(code: u32) -> Failure {
    let failure = Failure::new(format!("the message was refused: {}", named(code)));
    match Code::from_number(code) {
        Some(Code::NoConversation) => failure.hint("there is nobody of that name any more"),
        Some(Code::Forbidden) => failure.hint("only who wrote a message edits or deletes it"),
        Some(Code::TooLarge) => failure.hint("a message has at most 64 KiB"),
        Some(Code::Quota) => failure.hint("too much waits for them already: try again later"),
        _ => failure,
    }
}

/// A group refused a message or a change.
pub(crate) fn refused_by_group(code: u32) -> Failure {
    let words = group_words(code).unwrap_or("the group refused");
    let failure = Failure::new(format!("{words} ({})", named(code)));
    match Code::from_number(code) {
        Some(Code::NotMember) => failure.hint("a member adds you with `iris group add GROUP NAME`"),
        Some(Code::StaleRoster) => failure.hint("look with `iris group members`, then try again"),
        Some(Code::NoConversation) => failure.hint("`iris group list` shows your groups"),
        Some(Code::Forbidden) => failure.hint("`iris group members` shows who its admins are"),
        _ => failure,
    }
}

/// What a group means by a code.
pub(crate) fn group_words(code: u32) -> Option<&'static str> {
    Some(match Code::from_number(code)? {
        Code::NotMember => "you are not a member of this group",
        Code::StaleRoster => "the group has other members than when this was written",
        Code::TooLarge => "a message has at most 64 KiB, a change at most 256 members",
        Code::NoConversation => "there is no such group, or somebody is of another tenant",
        Code::Forbidden => "only its admins may do this, or there is a group of this id already",
        Code::Quota => "the group is full, or too much waits for it",
        _ => return None,
    })
}

/// What helps where no edge can be reached.
pub(crate) fn unreachable_hint(text: &str) -> &'static str {
    if text.contains("UnknownIssuer") || text.contains("certificate") {
        "the server's certificate is not trusted: name its authority with --ca FILE (or IRIS_CA). \
         In a Kubernetes cluster it is in the ConfigMap <cluster>-client-ca"
    } else if text.contains("refused") {
        "nobody listens there: is the server running, and is --server (or IRIS_SERVER) right?"
    } else if text.contains("lookup") || text.contains("not known") || text.contains("resolve") {
        "the name cannot be resolved: is --server (or IRIS_SERVER) right?"
    } else {
        "is the server running and reachable, and is --server (or IRIS_SERVER) right?"
    }
}

fn hint(error: &ClientError) -> Option<String> {
    let hint = match error {
        ClientError::Refused { code, .. } => return code_hint(*code).map(str::to_owned),
        ClientError::TryLater { .. } => "the server is there and busy: try again",
        ClientError::Unreachable(text) => unreachable_hint(text),
        ClientError::NotLoggedIn => "register with `iris register NAME`, or `iris login NAME`",
        ClientError::LoggedIn { .. } => "use --as to give the new account a name of its own",
        ClientError::NotLinked { .. } => {
            "on a device that is in the account: `iris approve CODE`; is the name right?"
        }
        ClientError::CalledOff(_) => {
            "the server did not answer in time: is it up? `iris whoami --connect` tries it"
        }
        ClientError::Stopped(Stop::LoggedOut { .. } | Stop::Revoked) => {
            "log in again with `iris login NAME --as OTHER_NAME`"
        }
        ClientError::Closed => {
            "the message is on this device's disk and goes out with the next connection"
        }
        ClientError::Config(_)
        | ClientError::Store(_)
        | ClientError::Key(_)
        | ClientError::Unsendable(_)
        | ClientError::Stopped(_)
        | ClientError::Malformed(_) => return None,
    };
    Some(hint.to_owned())
}

fn code_hint(code: u32) -> Option<&'static str> {
    let hint = match Code::from_number(code)? {
        Code::HandleTaken => "choose another name, or log in with `iris login` if it is yours",
        Code::BadCredentials => "check the name and the password (--password or IRIS_PASSWORD)",
        Code::NotFound => "check the spelling; names are not case sensitive",
        Code::TooManyDevices => {
            "revoke one that is not used any more: `iris devices`, then `iris revoke N`"
        }
        Code::AuthInvalid | Code::AuthExpired | Code::DeviceRevoked | Code::DeviceProof => {
            "log in again with `iris login NAME --as OTHER_NAME`"
        }
        Code::Invalid => "`iris COMMAND --help` says what it takes",
        Code::RateLimited => "try again in a moment",
        Code::NotMember => "you are not a member of this group: `iris group list` shows yours",
        _ => return None,
    };
    Some(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_group_refuses_is_explained_in_words() {
        for (code, words) in [
            (4101, "not a member"),
            (4103, "other members"),
            (4106, "no such group"),
            (4107, "only its admins"),
            (4291, "full"),
            (4999, "the group refused"),
        ] {
            let told = refused_by_group(code).for_people();
            assert!(told.contains(words) && told.contains(&code.to_string()), "{told}");
        }
    }
}
