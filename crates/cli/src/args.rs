//! What people may type after `iris`.

pub mod group;
mod link;
mod wishes;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use iris_client::EdgeAddr;

pub use link::{Approve, Link};
pub use wishes::{Contacts, Person, Privacy, Reads, ShownTo};

pub use crate::dev::DevArgs;
use crate::duration;
pub use crate::probe::ProbeArgs;
pub use crate::soak::SoakArgs;

const EXAMPLES: &str = "\
Examples:
  A server to try things with, without a cluster:
    iris dev

  A first conversation, in two terminals:
    export IRIS_SERVER=localhost:8443 IRIS_CA=~/.local/state/iris-dev/ca.crt
    iris register alice
    iris register bob
    iris chat bob   --as alice
    iris chat alice --as bob

  In a script:
    iris send bob 'the backup is done' --as alice --json
    iris listen --as bob --count 1 --json

  A second device, without the password:
    iris link alice --as tablet          (on the new one; it shows a code)
    iris approve CODE --as alice         (on one that is in the account)

  A group:
    iris group create team bob carol --as alice
    iris chat team --as bob

  Does the server lose anything under load?
    iris soak --pairs 50 --rate 500 --duration 60s --json

`iris COMMAND --help` tells more about each, with examples.";

/// Messages through Iris: register, log in, send, listen, chat; measure and probe a server.
#[derive(Parser, Debug)]
#[command(name = "iris", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub struct Iris {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Args, Debug, Clone, Default)]
pub struct Global {
    /// Servers, tried in turn; an account remembers those it was made with
    #[arg(
        long,
        global = true,
        env = "IRIS_SERVER",
        value_name = "HOST:PORT[,...]",
        value_delimiter = ',',
        help_heading = "Connection"
    )]
    pub server: Vec<EdgeAddr>,
    /// PEM file of the authority that signs the servers' certificates [default: the system's]
    #[arg(
        long,
        global = true,
        env = "IRIS_CA",
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        help_heading = "Connection"
    )]
    pub ca: Option<PathBuf>,
    /// Connect through a WebSocket, where nothing else gets through
    #[arg(long, global = true, help_heading = "Connection")]
    pub websocket: bool,
    /// Where accounts are kept on this machine [default: $XDG_STATE_HOME/iris or ~/.local/state/iris]
    #[arg(
        long,
        global = true,
        env = "IRIS_PROFILE_DIR",
        value_name = "DIR",
        value_hint = ValueHint::DirPath,
        help_heading = "Account"
    )]
    pub profile_dir: Option<PathBuf>,
    /// Which of the accounts here; needed only where there are several
    #[arg(
        long = "as",
        global = true,
        env = "IRIS_AS",
        value_name = "NAME",
        help_heading = "Account"
    )]
    pub account: Option<String>,
    /// One JSON object for each result, on a line of its own; notes stay on standard error
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Make a new account, with this device as its first
    #[command(after_help = "\
Examples:
  iris register alice --server localhost:8443 --ca ca.crt
  echo 'a long password' | iris register alice
  iris register alice --as alice-at-work    (two accounts may have the same name on two servers)")]
    Register(LogIn),
    /// Add this device to an account that exists
    #[command(after_help = "\
Examples:
  iris login alice --as alice-laptop    (a second device of alice, with a name of its own here)")]
    Login(LogIn),
    /// Add this device to an account without its password: a device of the account lets it in
    #[command(after_help = link::LINK_EXAMPLES)]
    Link(Link),
    /// Let a new device into this account, by the code that it shows
    #[command(after_help = link::APPROVE_EXAMPLES)]
    Approve(Approve),
    /// Send one message, and wait until the server has it for good
    #[command(after_help = "\
Examples:
  iris send bob 'hello' --as alice
  uptime | iris send bob
  iris send team 'lunch at noon'     (to a group; see `iris group`)
  seq 100 | iris send bob --lines    (a message for each line)")]
    Send(Send),
    /// Print what arrives, from where `listen` last stopped
    #[command(after_help = "\
Examples:
  iris listen --as bob
  iris listen --count 1 --for 10s --json    (one message, or a failure after ten seconds)
  iris listen --from team       (one group)
  iris listen --json | jq -r 'select(.event == \"message\") | .text'")]
    Listen(Listen),
    /// Talk to somebody: what you type is sent line by line, what they write appears
    #[command(after_help = "\
Examples:
  iris chat bob --as alice
  iris chat team --as alice
  Control-D ends the conversation. `iris listen` shows all conversations together.")]
    Chat(Chat),
    /// Groups: make them, change them, see who is in them
    #[command(after_help = "\
Examples:
  iris group create team bob carol --as alice
  iris send team 'lunch at noon' --as bob
  iris chat team --as carol
  iris group add team dave --as alice
  iris group leave team --as carol
A group is named by its name or its id (g_...). Where a person has the same name, the name means the \
person.")]
    Group(group::Group),
    /// A conversation as the server has it, oldest first
    #[command(after_help = "\
Examples:
  iris history bob --as alice
  iris history team
  iris history bob --count 500 --json | jq -r .text")]
    History(History),
    /// Replace the text of a message that you sent
    #[command(after_help = "\
Examples:
  iris send bob 'see you at ten' --as alice       (prints the message's name)
  iris edit 5c0ffee1 'see you at eleven' --as alice")]
    Edit(Edit),
    /// Erase a message that you sent, for everybody
    Delete(Delete),
    /// React to a message
    #[command(after_help = "\
Examples:
  iris history alice --as bob      (shows the messages' names)
  iris react 5c0ffee1 +1 --as bob")]
    React(React),
    /// Tell when people come and go
    #[command(after_help = "\
Examples:
  iris watch bob carol --as alice
  iris watch bob --for 1s --json | head -1    (is bob there?)")]
    Watch(Watch),
    /// Nothing of somebody reaches this account any more, and they see nothing of it
    Block(Person),
    /// Take a block back
    Unblock(Person),
    /// People whom this account knows; whom presence may be shown to
    #[command(after_help = "\
Examples:
  iris contacts
  iris contacts --add bob --remove carol")]
    Contacts(Contacts),
    /// Who sees whether this account is there, and whether others learn what it reads
    #[command(after_help = "\
Examples:
  iris privacy
  iris privacy --presence contacts --reads hide")]
    Privacy(Privacy),
    /// Which account and device this is
    Whoami(Whoami),
    /// The devices of this account
    Devices,
    /// Take the access of a device away, for ever
    #[command(after_help = "\
Examples:
  iris devices
  iris revoke 2")]
    Revoke(Revoke),
    /// Traffic at a fixed rate, and a ledger of every message: does the server lose anything?
    Soak(SoakArgs),
    /// Hostile connections, forged tokens, bad frames: does the server refuse what it must?
    Probe(ProbeArgs),
    /// A server of your own in this process, for people who write clients
    Dev(DevArgs),
    /// A script that completes commands in a shell
    #[command(after_help = "\
Examples:
  source <(iris completion bash)
  iris completion zsh > ~/.zfunc/_iris
  iris completion fish > ~/.config/fish/completions/iris.fish")]
    Completion(Completion),
}

/// `iris register` and `iris login`.
#[derive(Args, Debug)]
pub struct LogIn {
    /// The name: 3 to 64 of a-z 0-9 . _ -
    #[arg(value_name = "NAME")]
    pub handle: String,
    /// The password; without this it is asked for, or read from standard input
    #[arg(long, env = "IRIS_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
    /// What this device is called in the list of devices
    #[arg(long, default_value = "iris command line", value_name = "TEXT")]
    pub device_name: String,
    /// The tenant
    #[arg(long, default_value = "default")]
    pub tenant: String,
}

/// `iris send`.
#[derive(Args, Debug)]
pub struct Send {
    /// To whom: a person or group by name, an account (u_...), or a group (g_...)
    #[arg(value_name = "TO")]
    pub to: String,
    /// The message; without it, standard input
    pub text: Vec<String>,
    /// Each line of standard input is a message
    #[arg(long, conflicts_with = "text")]
    pub lines: bool,
    /// After this long nobody needs it: it disappears everywhere
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub expires: Option<Duration>,
    /// For how long to wait for the server
    #[arg(long, default_value = "20s", value_parser = duration::parse)]
    pub timeout: Duration,
}

/// `iris history`.
#[derive(Args, Debug)]
pub struct History {
    /// With whom, or in which group
    #[arg(value_name = "WITH")]
    pub with: String,
    /// How many of the newest messages
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub count: usize,
}

/// `iris edit`.
#[derive(Args, Debug)]
pub struct Edit {
    /// The message's name, or how it begins
    #[arg(value_name = "MESSAGE")]
    pub message: String,
    /// The new text
    #[arg(required = true)]
    pub text: Vec<String>,
}

/// `iris delete`.
#[derive(Args, Debug)]
pub struct Delete {
    /// The message's name, or how it begins
    #[arg(value_name = "MESSAGE")]
    pub message: String,
}

/// `iris react`.
#[derive(Args, Debug)]
pub struct React {
    /// The message's name, or how it begins
    #[arg(value_name = "MESSAGE")]
    pub message: String,
    /// The reaction
    #[arg(value_name = "WITH")]
    pub with: String,
}

/// `iris watch`.
#[derive(Args, Debug)]
pub struct Watch {
    /// Whom
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// End after this long
    #[arg(long = "for", value_parser = duration::parse, value_name = "DURATION")]
    pub period: Option<Duration>,
}

/// `iris listen`.
#[derive(Args, Debug)]
pub struct Listen {
    /// End after so many messages from others
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// End after this long; with --count, fail when fewer came
    #[arg(long = "for", value_parser = duration::parse, value_name = "DURATION")]
    pub period: Option<Duration>,
    /// Only what this person writes to this account, or what is written in this group
    #[arg(long, value_name = "NAME")]
    pub from: Option<String>,
    /// Tell those who wrote it that what is printed was read
    #[arg(long)]
    pub read: bool,
    /// Print the last N messages of this device first, even if they were printed before
    #[arg(long, value_name = "N")]
    pub last: Option<usize>,
}

/// `iris chat`.
#[derive(Args, Debug)]
pub struct Chat {
    /// With whom, or in which group
    #[arg(value_name = "WITH")]
    pub with: String,
    /// How many messages of the past to show first
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub last: usize,
}

/// `iris whoami`.
#[derive(Args, Debug)]
pub struct Whoami {
    /// All accounts of this machine
    #[arg(long)]
    pub all: bool,
    /// Connect, and say whether the server lets this device in
    #[arg(long)]
    pub connect: bool,
}

/// `iris revoke`.
#[derive(Args, Debug)]
pub struct Revoke {
    /// The device's number; see `iris devices`
    pub device: u32,
}

/// `iris completion`.
#[derive(Args, Debug)]
pub struct Completion {
    /// Which shell
    pub shell: Shell,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parsed(line: &str) -> Result<Iris, clap::Error> {
        Iris::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_arguments_are_sound() {
        Iris::command().debug_assert();
    }

    #[test]
    fn servers_and_accounts_may_be_named_anywhere() {
        let iris = parsed("iris send bob hi --server a:1,b:2 --as alice --json").unwrap();
        assert_eq!(iris.global.server.len(), 2);
        assert_eq!(iris.global.account.as_deref(), Some("alice"));
        assert!(iris.global.json);
        let Command::Send(send) = iris.command else { panic!() };
        assert_eq!((send.to.as_str(), send.text), ("bob", vec!["hi".to_owned()]));
        assert!(parsed("iris --server a:1 whoami").is_ok());
        assert!(parsed("iris --server https://a whoami").is_err(), "an address, not a URL");
        assert!(parsed("iris send bob hi --lines").is_err());
    }

    #[test]
    fn a_soak_is_described_by_its_arguments() {
        let line = "iris soak --pairs 10 --rate 500 --duration 2m --payload 128 --json";
        let Command::Soak(soak) = parsed(line).unwrap().command else { panic!() };
        assert_eq!((soak.pairs, soak.rate), (10, 500.0));
        assert_eq!(soak.duration, Duration::from_secs(120));
        for bad in ["--pairs 0", "--rate 0", "--rate -1", "--duration 1d", "--payload 70000"] {
            assert!(parsed(&format!("iris soak {bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn groups_are_made_and_changed() {
        use group::GroupCommand;
        let line = "iris group create team bob carol --only-admins-write --json --as alice";
        let iris = parsed(line).unwrap();
        assert!(iris.global.json);
        let Command::Group(group::Group { command: GroupCommand::Create(create) }) = iris.command
        else {
            panic!()
        };
        assert_eq!((create.name.as_str(), create.members.len()), ("team", 2));
        assert!(create.only_admins_write && !create.only_admins_add);
        for good in ["add team bob carol", "leave team", "demote team bob", "list", "members team"]
        {
            assert!(parsed(&format!("iris group {good}")).is_ok(), "{good}");
        }
        for bad in ["add team", "remove", "promote team", "rename team", "join team"] {
            assert!(parsed(&format!("iris group {bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_link_code_is_typed_as_it_is_shown() {
        let code = iris_client::LinkCode::new(iris_core::id::PublicKey([7; 32]));
        let Command::Approve(approve) = parsed(&format!("iris approve {code}")).unwrap().command
        else {
            panic!()
        };
        assert_eq!(approve.code().unwrap(), code);
        let spaced = code.to_string().replace('-', " ");
        let Command::Approve(approve) = parsed(&format!("iris approve {spaced}")).unwrap().command
        else {
            panic!()
        };
        assert_eq!(approve.code().unwrap(), code);
        assert!(parsed("iris approve").is_err());
        assert!(parsed("iris link alice --for 5m").is_ok());
        assert!(parsed("iris link").is_err());
    }

    #[test]
    fn every_command_has_help() {
        fn check(command: &clap::Command) {
            for command in command.get_subcommands() {
                assert!(command.get_about().is_some(), "{}", command.get_name());
                check(command);
            }
        }
        check(&Iris::command());
    }
}
