//! The accounts of this machine: a directory for each, with the device's own state, where its server is,
//! and what it learned of others.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use iris_client::EdgeAddr;
use iris_client::store::{FileStore, HistoryMax};
use iris_core::id::{AccountId, GroupId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::args::Global;
use crate::failure::Failure;

const DEVICE: &str = "device";
const SERVER: &str = "server.json";
const PEOPLE: &str = "people.json";
const SHOWN: &str = "shown.json";
const GROUPS: &str = "groups.json";
const SHOWN_IN_GROUPS: &str = "shown_in_groups.json";

/// All of them.
#[derive(Debug)]
pub(crate) struct Profiles {
    directory: PathBuf,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) name: String,
    directory: PathBuf,
}

/// Where an account's server is.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Server {
    pub(crate) servers: Vec<String>,
    /// The authority's certificates, where one was named.
    pub(crate) ca_pem: Option<String>,
    pub(crate) websocket: bool,
}

impl Profiles {
    pub(crate) fn open(global: &Global) -> Result<Self, Failure> {
        let directory = match &global.profile_dir {
            Some(directory) => directory.clone(),
            None => default_directory("iris").ok_or_else(|| {
                Failure::new("there is no home directory to keep accounts in")
                    .hint("name a directory with --profile-dir or IRIS_PROFILE_DIR")
            })?,
        };
        Ok(Self { directory })
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The names of all accounts, in order.
    pub(crate) fn names(&self) -> Result<Vec<String>, Failure> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unreadable(&self.directory, &error)),
        };
        let entries = entries.filter_map(Result::ok);
        let accounts = entries.filter(|entry| entry.path().join(DEVICE).is_dir());
        let mut names: Vec<_> =
            accounts.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        Ok(names)
    }

    /// The names of people that any account of this machine knows.
    pub(crate) fn people(&self) -> BTreeMap<String, String> {
        let profiles = self.names().unwrap_or_default();
        let profiles = profiles.iter().filter_map(|name| self.profile(name).ok());
        profiles.flat_map(|profile| profile.people()).collect()
    }

    /// The account that is meant: the named one, or the only one.
    pub(crate) fn select(&self, named: Option<&str>) -> Result<Profile, Failure> {
        let names = self.names()?;
        let name = match named {
            Some(name) if names.iter().any(|known| known == name) => name.to_owned(),
            Some(name) => {
                let error = Failure::new(format!("there is no account {name} on this machine"));
                return Err(error.hint(if names.is_empty() {
                    format!("make one with `iris register {name}`")
                } else {
                    format!("there are: {}", names.join(", "))
                }));
            }
            None => match names.as_slice() {
                [only] => only.clone(),
                [] => {
                    return Err(Failure::new("there is no account on this machine")
                        .hint("make one with `iris register NAME --server HOST:PORT`"));
                }
                several => {
                    let several = several.join(", ");
                    return Err(Failure::new(format!(
                        "there are several accounts here: {several}"
                    ))
                    .hint("say which one with --as NAME or IRIS_AS"));
                }
            },
        };
        self.profile(&name)
    }

    /// The account with this name, whether it is there or not.
    pub(crate) fn profile(&self, name: &str) -> Result<Profile, Failure> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@');
        let usable = !name.is_empty() && !name.starts_with('.') && name.chars().all(plain);
        if !usable {
            return Err(Failure::new(format!("{name:?} cannot be the name of an account"))
                .hint("use letters, digits and . _ - @"));
        }
        Ok(Profile { name: name.to_owned(), directory: self.directory.join(name) })
    }
}

impl Profile {
    /// The device's own state; nobody else can have it open.
    pub(crate) fn store(&self) -> Result<FileStore, Failure> {
        fs::create_dir_all(&self.directory).map_err(|error| unreadable(&self.directory, &error))?;
        FileStore::open(&self.directory.join(DEVICE), HistoryMax::PERSON)
            .map_err(|error| iris_client::ClientError::from(error).into())
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn server(&self) -> Server {
        self.read(SERVER)
    }

    pub(crate) fn set_server(&self, server: &Server) -> Result<(), Failure> {
        self.write(SERVER, server)
    }

    /// The names of accounts, as they were last heard.
    pub(crate) fn people(&self) -> BTreeMap<String, String> {
        self.read(PEOPLE)
    }

    /// Remembers whose account it is.
    pub(crate) fn learn(&self, account: AccountId, name: &str) -> Result<(), Failure> {
        let mut people = self.people();
        let before = people.insert(account.to_string(), name.to_owned());
        if before.as_deref() == Some(name) { Ok(()) } else { self.write(PEOPLE, &people) }
    }

    /// The names of groups, as they were last heard.
    pub(crate) fn groups(&self) -> BTreeMap<String, String> {
        self.read(GROUPS)
    }

    pub(crate) fn set_groups(&self, groups: &BTreeMap<String, String>) -> Result<(), Failure> {
        if *groups == self.groups() { Ok(()) } else { self.write(GROUPS, groups) }
    }

    /// Remembers what a group is called.
    pub(crate) fn learn_group(&self, group: GroupId, name: &str) -> Result<(), Failure> {
        let mut groups = self.groups();
        groups.insert(group.to_string(), name.to_owned());
        self.set_groups(&groups)
    }

    /// The last place of each large group that was shown.
    pub(crate) fn shown_in_groups(&self) -> BTreeMap<String, u64> {
        self.read(SHOWN_IN_GROUPS)
    }

    pub(crate) fn set_shown_in_groups(&self, shown: &BTreeMap<String, u64>) -> Result<(), Failure> {
        self.write(SHOWN_IN_GROUPS, shown)
    }

    /// The last place of the inbox that was shown.
    pub(crate) fn shown(&self) -> u64 {
        self.read(SHOWN)
    }

    pub(crate) fn set_shown(&self, place: u64) -> Result<(), Failure> {
        self.write(SHOWN, &place)
    }

    /// What cannot be read is as if it were not there: none of it is worth failing for.
    fn read<T: DeserializeOwned + Default>(&self, file: &str) -> T {
        let bytes = fs::read(self.directory.join(file)).ok();
        bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    fn write(&self, file: &str, value: &impl Serialize) -> Result<(), Failure> {
        let (path, new) = (self.directory.join(file), self.directory.join(format!("{file}.new")));
        let written = || {
            let mut file = fs::File::create(&new)?;
            serde_json::to_writer(&mut file, value)?;
            file.flush()?;
            fs::rename(&new, &path)
        };
        written().map_err(|error| unreadable(&path, &error))
    }
}

impl Server {
    /// As the arguments say, and for the rest as it was before.
    pub(crate) fn merged(&self, global: &Global) -> Result<Self, Failure> {
        let servers = if global.server.is_empty() {
            self.servers.clone()
        } else {
            global.server.iter().map(EdgeAddr::to_string).collect()
        };
        let ca_pem = match &global.ca {
            Some(path) => {
                let text = fs::read_to_string(path);
                Some(text.map_err(|error| {
                    Failure::new(format!("cannot read {}: {error}", path.display()))
                        .hint("--ca (or IRIS_CA) names a PEM file with the authority's certificate")
                })?)
            }
            None => self.ca_pem.clone(),
        };
        Ok(Self { servers, ca_pem, websocket: self.websocket || global.websocket })
    }
}

/// Where a program of this name keeps its state.
pub(crate) fn default_directory(name: &str) -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    Some(state.filter(|path| path.is_absolute()).or_else(home)?.join(name))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
        .hint("another directory can be named with --profile-dir or IRIS_PROFILE_DIR")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profiles() -> (tempfile::TempDir, Profiles) {
        let directory = tempfile::tempdir().unwrap();
        let global =
            Global { profile_dir: Some(directory.path().join("iris")), ..Global::default() };
        (directory, Profiles::open(&global).unwrap())
    }

    #[test]
    fn the_only_account_is_meant_and_one_of_several_must_be_named() {
        let (_directory, profiles) = profiles();
        let error = profiles.select(None).unwrap_err().for_people();
        assert!(error.contains("iris register"), "{error}");
        drop(profiles.profile("alice").unwrap().store().unwrap());
        assert_eq!(profiles.select(None).unwrap().name, "alice");
        drop(profiles.profile("bob").unwrap().store().unwrap());
        let error = profiles.select(None).unwrap_err().for_people();
        assert!(error.contains("alice, bob") && error.contains("--as"), "{error}");
        assert_eq!(profiles.select(Some("bob")).unwrap().name, "bob");
        let error = profiles.select(Some("eve")).unwrap_err().for_people();
        assert!(error.contains("alice, bob"), "{error}");
        assert!(profiles.profile("../alice").is_err());
    }

    #[test]
    fn an_account_remembers_its_server_and_its_people() {
        let (_directory, profiles) = profiles();
        let profile = profiles.profile("alice").unwrap();
        drop(profile.store().unwrap());
        let global = Global {
            server: vec!["localhost:8443".parse().unwrap()],
            websocket: true,
            ..Global::default()
        };
        profile.set_server(&Server::default().merged(&global).unwrap()).unwrap();
        let known = profile.server().merged(&Global::default()).unwrap();
        assert_eq!(known.servers, ["localhost:8443"]);
        assert!(known.websocket);
        let bob = AccountId::from_bytes(&[7; 16]).unwrap();
        profile.learn(bob, "bob").unwrap();
        assert_eq!(profile.people().get(&bob.to_string()).map(String::as_str), Some("bob"));
        assert_eq!(profile.shown(), 0);
        profile.set_shown(41).unwrap();
        assert_eq!(profile.shown(), 41);
        let team = GroupId::from_bytes(&[8; 16]).unwrap();
        for name in ["team", "the old team"] {
            profile.learn_group(team, name).unwrap();
        }
        let named = profile.groups().into_iter().collect::<Vec<_>>();
        assert_eq!(named, [(team.to_string(), "the old team".to_owned())]);
    }
}
