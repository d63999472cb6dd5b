//! What people may type after `iris group`.

use clap::{Args, Subcommand};

/// `iris group`.
#[derive(Args, Debug)]
pub struct Group {
    /// What to do.
    #[command(subcommand)]
    pub command: GroupCommand,
}

/// What to do with groups.
#[derive(Subcommand, Debug)]
pub enum GroupCommand {
    /// Make a group, with this account as its admin
    #[command(after_help = "\
Examples:
  iris group create team bob carol --as alice
  iris group create announcements bob carol dave --only-admins-write
  xargs iris group create everybody < names.txt    (up to 100,000 members; 256 go with each change)")]
    Create(Create),
    /// Add members: every member may, unless the group says otherwise
    #[command(after_help = "\
Examples:
  iris group add team dave erin --as alice
  What was said before they came is not theirs to read.")]
    Add(Change),
    /// Remove members: for admins
    #[command(after_help = "\
Examples:
  iris group remove team dave --as alice")]
    Remove(Change),
    /// Leave a group; one that loses its last admin goes to its oldest member
    #[command(after_help = "\
Examples:
  iris group leave team --as bob")]
    Leave(Which),
    /// Make a member an admin: for admins
    #[command(after_help = "\
Examples:
  iris group promote team bob --as alice")]
    Promote(Who),
    /// Make an admin an ordinary member again: for admins
    #[command(after_help = "\
Examples:
  iris group demote team bob --as alice")]
    Demote(Who),
    /// Give a group another name: for admins
    #[command(after_help = "\
Examples:
  iris group rename team 'the old team' --as alice")]
    Rename(Rename),
    /// The groups that this account is in
    #[command(after_help = "\
Examples:
  iris group list
  iris group list --json | jq -r '.groups[].name'")]
    List,
    /// Who is in a group; a change is seen within seconds
    #[command(after_help = "\
Examples:
  iris group members team
  iris group members team --json | jq -r '.members[] | select(.role == \"admin\") | .name'")]
    Members(Which),
}

/// `iris group create`.
#[derive(Args, Debug)]
pub struct Create {
    /// What the group is called; its members see it
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Who is in it from the beginning
    #[arg(value_name = "MEMBER")]
    pub members: Vec<String>,
    /// Only admins write to it
    #[arg(long)]
    pub only_admins_write: bool,
    /// Only admins add members
    #[arg(long)]
    pub only_admins_add: bool,
}

/// `iris group add` and `iris group remove`.
#[derive(Args, Debug)]
pub struct Change {
    /// The group: its name, or its id (g_...)
    #[arg(value_name = "GROUP")]
    pub group: String,
    /// Whom
    #[arg(value_name = "MEMBER", required = true)]
    pub members: Vec<String>,
}

/// `iris group leave` and `iris group members`.
#[derive(Args, Debug)]
pub struct Which {
    /// The group: its name, or its id (g_...)
    #[arg(value_name = "GROUP")]
    pub group: String,
}

/// `iris group promote` and `iris group demote`.
#[derive(Args, Debug)]
pub struct Who {
    /// The group: its name, or its id (g_...)
    #[arg(value_name = "GROUP")]
    pub group: String,
    /// Whom
    #[arg(value_name = "MEMBER")]
    pub member: String,
}

/// `iris group rename`.
#[derive(Args, Debug)]
pub struct Rename {
    /// The group: its name, or its id (g_...)
    #[arg(value_name = "GROUP")]
    pub group: String,
    /// What it is called from now on
    #[arg(value_name = "NAME")]
    pub name: String,
}
