//! Groups by their names: the name is kept in a group's settings as text, and remembered here.

use std::time::Duration;

use iris_client::ClientError;
use iris_core::group::{Membership, RosterPage, Settings};
use iris_core::id::{AccountId, GroupId};
use iris_core::limits::GROUP_INFO_BYTES_MAX;
use iris_core::message::Address;
use tokio::time::{Instant, sleep};

use crate::connect::Opened;
use crate::failure::Failure;

/// For how long a name may not be known that somebody has just given.
const NAME_PATIENCE: Duration = Duration::from_millis(1_500);
/// For how long a group that was just made may have no rows yet.
const ROWS_PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(100);

/// A group of this account.
#[derive(Debug, Clone)]
pub(crate) struct OwnGroup {
    pub(crate) group: GroupId,
    pub(crate) membership: Membership,
    /// As it was last heard.
    pub(crate) name: Option<String>,
}

/// The name in a group's settings; nothing where another client keeps something else there.
pub(crate) fn name_of(settings: &Settings) -> Option<String> {
    let name = std::str::from_utf8(&settings.info).ok()?;
    check_name(name).ok().map(|()| name.to_owned())
}

/// Whether a group may have this name.
pub(crate) fn check_name(name: &str) -> Result<(), Failure> {
    let plain = !name.trim().is_empty() && !name.chars().any(char::is_control);
    if !plain {
        return Err(Failure::new("a group needs a name")
            .hint("any text on one line: `iris group create 'the team' bob carol`"));
    }
    if name.len() > GROUP_INFO_BYTES_MAX {
        return Err(Failure::new(format!("a name has at most {GROUP_INFO_BYTES_MAX} bytes")));
    }
    Ok(())
}

impl Opened {
    /// A group by its id or its name.
    pub(crate) async fn group(&self, which: &str) -> Result<GroupId, Failure> {
        if let Ok(group) = which.parse() {
            return Ok(group);
        }
        let missing = || {
            Failure::new(format!("you are in no group called {which}"))
                .hint("`iris group list` shows the groups of this account")
        };
        self.group_named(which).await?.ok_or_else(missing)
    }

    /// Whom a message goes to: an account or a group by its id, a person by name, or else a group by
    /// name. A person comes first, so that nobody gets what was meant for somebody else by calling a
    /// group like them.
    pub(crate) async fn address(&self, who: &str) -> Result<Address, Failure> {
        if let Ok(group) = who.parse() {
            return Ok(Address::Group(group));
        }
        if let Some(account) = self.lookup(who).await? {
            return Ok(Address::Account(account));
        }
        match self.group_named(who).await? {
            Some(group) => Ok(Address::Group(group)),
            None => Err(Failure::new(format!(
                "there is nobody called {who}, and no group of yours"
            ))
            .hint("names of people are not case sensitive; `iris group list` shows your groups")),
        }
    }

    /// A page of who is in a group. One that was made this moment is waited for.
    pub(crate) async fn members(
        &self,
        group: GroupId,
        after: Option<AccountId>,
    ) -> Result<RosterPage, Failure> {
        let until = Instant::now() + ROWS_PATIENCE;
        loop {
            match self.client.handle().list_members(group, after).await {
                Err(ClientError::Refused { code: 4106, .. }) if Instant::now() < until => {
                    sleep(LOOK).await;
                }
                page => return Ok(page?),
            }
        }
    }

    /// The groups of this account with their names: those that are not known here are asked for.
    pub(crate) async fn groups(&self) -> Result<Vec<OwnGroup>, Failure> {
        self.list(true).await
    }

    async fn group_named(&self, name: &str) -> Result<Option<GroupId>, Failure> {
        let known = self.profile.groups();
        let here: Vec<_> = known.iter().filter(|(_, known)| same(known, name)).collect();
        let here = here.into_iter().filter_map(|(id, _)| id.parse().ok()).collect();
        if let Some(group) = only(name, here)? {
            return Ok(Some(group));
        }
        // Somebody may have added this account, or renamed a group: just now, perhaps.
        let until = Instant::now() + NAME_PATIENCE;
        loop {
            let groups = self.list(false).await?.into_iter();
            let there = groups.filter(|known| known.name.as_deref().is_some_and(|n| same(n, name)));
            let found = only(name, there.map(|known| known.group).collect())?;
            if found.is_some() || Instant::now() >= until {
                return Ok(found);
            }
            sleep(LOOK).await;
        }
    }

    /// A group's name as its roster has it. One that was made this moment is waited for.
    async fn name_by_roster(&self, group: GroupId) -> Result<Option<String>, Failure> {
        let until = Instant::now() + ROWS_PATIENCE;
        loop {
            match self.client.handle().list_members(group, None).await {
                Ok(page) => return Ok(name_of(&page.settings)),
                Err(ClientError::Refused { code: 4106, .. }) if Instant::now() < until => {
                    sleep(LOOK).await;
                }
                // It was left this moment.
                Err(ClientError::Refused { .. }) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn list(&self, known_names_do: bool) -> Result<Vec<OwnGroup>, Failure> {
        let handle = self.client.handle();
        let mut known = self.profile.groups();
        let mut groups = Vec::new();
        for (group, membership) in handle.list_groups().await? {
            let mut name = known.get(&group.to_string()).cloned();
            if membership.until.is_none() && (name.is_none() || !known_names_do) {
                name = self.name_by_roster(group).await?.or(name);
            }
            if let Some(name) = &name {
                known.insert(group.to_string(), name.clone());
            }
            groups.push(OwnGroup { group, membership, name });
        }
        self.profile.set_groups(&known)?;
        Ok(groups)
    }
}

fn same(known: &str, name: &str) -> bool {
    known.to_lowercase() == name.to_lowercase()
}

fn only(name: &str, groups: Vec<GroupId>) -> Result<Option<GroupId>, Failure> {
    match groups.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(*one)),
        several => {
            let several: Vec<_> = several.iter().map(ToString::to_string).collect();
            Err(Failure::new(format!("several groups are called {name}"))
                .hint(format!("say which by its id: {}", several.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(info: &'static [u8]) -> Settings {
        Settings { info: info.into(), ..Settings::default() }
    }

    #[test]
    fn a_name_is_text_on_one_line_and_what_is_none_is_no_name() {
        assert_eq!(name_of(&settings("Bücherei".as_bytes())).as_deref(), Some("Bücherei"));
        for none in [&b""[..], b"  ", b"\xff\xfe", b"a\x1b[2J"] {
            assert_eq!(name_of(&settings(none)), None, "{none:?}");
        }
        assert!(check_name(&"x".repeat(GROUP_INFO_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn a_name_of_several_groups_is_none_of_them() {
        let group = |n| GroupId::from_bytes(&[n; 16]).unwrap();
        assert_eq!(only("team", vec![]).unwrap(), None);
        assert_eq!(only("team", vec![group(1)]).unwrap(), Some(group(1)));
        let error = only("team", vec![group(1), group(2)]).unwrap_err().for_people();
        assert!(error.contains(&group(2).to_string()), "{error}");
        assert!(same("Team", "tEAM") && !same("team", "teams"));
    }
}
