//! What people said, kept over versions: two people and a group of theirs. At each station every line that
//! was ever said must be in the history that the server gives, in its order, and a new one joins them.
//!
//! The traffic's own ledger is about messages under way; this is about those that lie in the database while
//! the programs around it change.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xtask::cluster::Cluster;

/// See the module.
#[derive(Debug)]
pub struct Album {
    /// The two people's names.
    people: [String; 2],
    /// The group's id.
    group: String,
    /// What the first person said to the second one, and to the group.
    said: [Vec<String>; 2],
}

impl Album {
    /// Two people who do not know this cluster yet, and a group. `run` tells one album from another.
    ///
    /// # Errors
    /// When the cluster refuses anything.
    pub fn open(cluster: &Cluster, run: &str) -> Result<Self> {
        let people = ["ada", "ben"].map(|name| format!("{name}-{run}"));
        for person in &people {
            let register = ["register", person, "--password", "of the album, for everybody"];
            iris(cluster, person, &register)?;
        }
        let create = ["group", "create", &format!("album-{run}"), &people[1], "--json"];
        let created = iris(cluster, &people[0], &create)?;
        let created: Value = serde_json::from_str(created.trim()).context("what was created")?;
        let group = created["group"].as_str().context("a group without an id")?.to_owned();
        Ok(Self { people, group, said: [Vec::new(), Vec::new()] })
    }

    /// The first person says something to the second one and to the group.
    ///
    /// # Errors
    /// When it is not acknowledged.
    pub fn say(&mut self, cluster: &Cluster, when: &str) -> Result<()> {
        let line = format!("line {} of the album, {when}", self.said[0].len());
        for (to, said) in [self.people[1].clone(), self.group.clone()].iter().zip(&mut self.said) {
            iris(cluster, &self.people[0], &["send", to, &line])?;
            said.push(line.clone());
        }
        Ok(())
    }

    /// Answers what the second person does not find as it was said; nothing when all is there.
    ///
    /// # Errors
    /// When the server does not give its history.
    pub fn missing(&self, cluster: &Cluster) -> Result<Option<String>> {
        for (with, said) in [&self.people[0], &self.group].into_iter().zip(&self.said) {
            let history = ["history", with, "--count", "500", "--json"];
            let text = iris(cluster, &self.people[1], &history)?;
            let found = lines(&text)?;
            if let Some(wrong) = difference(said, &found) {
                return Ok(Some(format!("in the conversation with {with}: {wrong}")));
            }
        }
        Ok(None)
    }
}

/// The texts of an album's lines, in the order in which the server has them.
fn lines(history: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for line in history.lines().filter(|line| !line.is_empty()) {
        let value: Value = serde_json::from_str(line).context("a line of history")?;
        let text = value["text"].as_str().filter(|text| text.starts_with("line "));
        found.extend(text.map(str::to_owned));
    }
    Ok(found)
}

fn difference(said: &[String], found: &[String]) -> Option<String> {
    if said == found {
        return None;
    }
    match said.iter().find(|line| !found.contains(line)) {
        Some(lost) => Some(format!("{lost:?} is gone, of {} lines", said.len())),
        None => Some(format!("said were {said:?}, and there are {found:?}")),
    }
}

/// `iris` as a person; what it wrote.
fn iris(cluster: &Cluster, person: &str, args: &[&str]) -> Result<String> {
    let mut command: Command = cluster.iris()?;
    let output = command.args(args).args(["--as", person]).stdin(Stdio::null()).output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "iris {}: {}", args.first().unwrap_or(&""), error.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_among_what_else_was_said() {
        let history = "{\"event\":\"message\",\"text\":\"line 0 of the album, x\"}\n{\"event\":\"change\"}\n\
                       {\"event\":\"message\",\"text\":\"something else\"}\n";
        assert_eq!(lines(history).unwrap(), ["line 0 of the album, x"]);
        assert!(lines("no json").is_err());
    }

    #[test]
    fn what_is_gone_twice_or_out_of_order_is_told() {
        let of = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let said = of(&["a", "b"]);
        assert_eq!(difference(&said, &of(&["a", "b"])), None);
        assert!(difference(&said, &of(&["a"])).unwrap().contains("\"b\" is gone"));
        for wrong in [&["b", "a"][..], &["a", "a", "b"]] {
            assert!(difference(&said, &of(wrong)).is_some(), "{wrong:?}");
        }
    }
}
