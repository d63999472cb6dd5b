//! What people may type after `iris block`, `unblock`, `contacts` and `privacy`.

use clap::{Args, ValueEnum};

/// `iris block` and `iris unblock`.
#[derive(Args, Debug)]
pub struct Person {
    /// Whom
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// `iris contacts`.
#[derive(Args, Debug)]
pub struct Contacts {
    /// Know these
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub add: Vec<String>,
    /// Know these no more
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub remove: Vec<String>,
}

/// `iris privacy`.
#[derive(Args, Debug)]
pub struct Privacy {
    /// Who sees whether this account is there, and since when it is not
    #[arg(long, value_name = "WHO")]
    pub presence: Option<ShownTo>,
    /// Whether others learn what this account reads
    #[arg(long, value_name = "WHAT")]
    pub reads: Option<Reads>,
}

/// Who sees something.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShownTo {
    /// Everybody who is not blocked
    Everyone,
    /// Contacts
    Contacts,
    /// Nobody
    Nobody,
}

/// Whether others learn what is read.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// They do
    Tell,
    /// They do not
    Hide,
}
