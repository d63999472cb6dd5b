//! The program as people run it, against `iris dev`: real processes, real sockets, a real disk.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, outside their functions")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;

/// `iris dev` in a directory of its own.
struct Server {
    child: Child,
    files: tempfile::TempDir,
    address: String,
}

impl Server {
    fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        let (child, address) = dev(files.path(), "0");
        Self { child, files, address }
    }

    /// Kills it and starts it again where it was.
    fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let port = self.address.rsplit(':').next().unwrap().to_owned();
        (self.child, self.address) = dev(self.files.path(), &port);
    }

    /// Runs `iris` with these words.
    fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_iris"));
        command.args(line.split_whitespace());
        command.env("IRIS_SERVER", &self.address);
        command.env("IRIS_CA", self.files.path().join("dev/ca.crt"));
        command.env("IRIS_PROFILE_DIR", self.files.path().join("accounts"));
        command.env("IRIS_PASSWORD", "a long password");
        command.env_remove("IRIS_AS").stdin(Stdio::null());
        command
    }

    /// What it prints, line by line; it must succeed.
    fn json(&self, line: &str) -> Vec<Value> {
        let output = self.run(&format!("{line} --json"));
        let notes = String::from_utf8_lossy(&output.stderr);
        let results = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{line}: {notes} {results}");
        results.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The same, again while it did not say what is waited for: a busy machine takes its time.
    fn until(&self, line: &str, said: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        for _ in 0..10 {
            let results = self.json(line);
            if said(&results) {
                return results;
            }
        }
        panic!("{line}: ten times in vain");
    }

    /// Runs `iris` with these words beside the test; its results are read line by line.
    fn begin(&self, line: &str) -> (Child, BufReader<ChildStdout>) {
        let mut command = self.command(&format!("{line} --json"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let results = BufReader::new(child.stdout.take().unwrap());
        (child, results)
    }

    /// What it says when it fails.
    fn failure(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(!output.status.success(), "{line}");
        String::from_utf8(output.stderr).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        let _killed = self.child.kill().and_then(|()| self.child.wait()).is_ok();
    }
}

#[expect(clippy::disallowed_methods, reason = "no runtime is here")]
fn dev(files: &Path, port: &str) -> (Child, String) {
    for _ in 0..100 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_iris"));
        command.args(["dev", "--json", "--port", port, "--dir"]).arg(files.join("dev"));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if let Ok(facts) = serde_json::from_str::<Value>(&line) {
            return (child, facts["server"].as_str().unwrap().to_owned());
        }
        // A connection of another test may have its port for a moment.
        child.wait().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("iris dev does not start");
}

fn texts(events: &[Value]) -> Vec<&str> {
    let messages = events.iter().filter(|event| event["event"] == "message");
    messages.map(|event| event["text"].as_str().unwrap()).collect()
}

#[test]
fn a_conversation_survives_a_kill() {
    let mut server = Server::start();
    assert_eq!(server.json("register alice")[0]["device"], 1);
    server.json("register bob");
    assert_eq!(server.json("send bob hello there --as alice")[0]["event"], "accepted");
    let heard = server.json("listen --as bob --count 1 --for 20s");
    assert_eq!(texts(&heard), ["hello there"]);
    assert_eq!(heard[0]["from"], "alice", "people of one machine know each other");

    server.kill_and_restart();
    server.json("send bob again --as alice");
    let heard = server.json("listen --as bob --count 1 --for 20s");
    assert_eq!(texts(&heard), ["again"], "what was shown is not shown again");

    server.json("login alice --as laptop");
    let devices = server.json("devices --as laptop");
    assert_eq!(devices[0]["devices"].as_array().unwrap().len(), 2);
    server.json("revoke 2 --as alice");
    let refused = server.failure("whoami --connect --as laptop");
    assert!(refused.contains("revoked") && refused.contains("hint"), "{refused}");
}

#[test]
fn a_device_is_linked_without_the_password() {
    let mut server = Server::start();
    server.json("register alice");
    server.json("register bob");
    server.json("send alice long ago --as bob");
    server.json("listen --as alice --count 1 --for 20s");

    // It gives up, and shows the same code the next time.
    let told = server.run("link alice --as tablet --for 1s --json");
    let shown: Value = serde_json::from_slice(&told.stdout).unwrap();
    let said = String::from_utf8(told.stderr).unwrap();
    assert!(!told.status.success() && said.contains("iris approve"), "{said}");
    let told = server.failure("whoami --connect --as tablet");
    assert!(told.contains("iris link"), "{told}");

    let (mut tablet, mut results) = server.begin("link alice --as tablet --for 60s");
    let mut next = || {
        let mut line = String::new();
        results.read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).unwrap()
    };
    let code = next();
    assert_eq!((&code["event"], &code["code"]), (&"code".into(), &shown["code"]));
    let code = code["code"].as_str().unwrap();
    let line = format!("approve {code} --device-name tablet --as alice");
    let approved = server.json(&line);
    assert_eq!(approved[0]["device"], 2);
    let linked = next();
    assert_eq!((&linked["event"], &linked["device"]), (&"linked".into(), &2.into()), "{linked}");
    assert_eq!(linked["device_name"], "tablet");
    assert!(tablet.wait().unwrap().success());

    server.kill_and_restart();
    assert_eq!(server.json(&line)[0]["device"], 2, "the same device");
    server.json("send alice just now --as bob");
    let heard = server.json("listen --as tablet --count 1 --for 20s");
    assert_eq!(texts(&heard), ["just now"]);
    let history = server.json("history bob --as tablet");
    let said: Vec<_> = history.iter().filter_map(|event| event["text"].as_str()).collect();
    assert_eq!(said, ["long ago", "just now"], "what was before, too");

    server.json("revoke 2 --as alice");
    assert!(server.failure("whoami --connect --as tablet").contains("revoked"));
    let told = server.failure(&line);
    assert!(told.contains("make a new code"), "{told}");
    for (line, expected) in [
        ("link alice --as alice --for 1s", "belongs to alice already"),
        ("approve iris-link:0000 --as alice", "not a link code"),
        (&*format!("approve {} --as alice", code.replace("iris-link:0", "iris-link:1")), "wrong"),
        ("link nobody --as nobody --for 1s", "is the name right"),
    ] {
        let told = server.failure(line);
        assert!(told.contains(expected) && told.contains("hint"), "{line}: {told}");
    }
}

#[test]
fn what_people_say_of_messages_and_of_each_other() {
    let mut server = Server::start();
    server.json("register alice");
    server.json("register bob");
    let sent = server.json("send bob see you at ten --as alice");
    let name = sent[0]["msg_id"].as_str().unwrap()[..8].to_owned();
    server.json("listen --as bob --count 1 --for 20s --read");
    let read = |event: &Value| event["event"] == "receipt" && event["read_ms"] != 0;
    let heard = server.until("listen --as alice --for 2s", |heard| heard.iter().any(read));
    assert_eq!(heard.iter().filter(|event| read(event)).count(), 1, "{heard:?}");

    server.json(&format!("edit {name} see you at eleven --as alice"));
    server.json(&format!("react {name} +1 --as bob"));
    let edited = server.json("listen --as bob --count 1 --for 20s");
    assert_eq!(
        (&edited[0]["act"], &edited[0]["text"]),
        (&"edit".into(), &"see you at eleven".into())
    );
    let told = server.failure(&format!("delete {name} --as bob"));
    assert!(told.contains("only who wrote") && told.contains("hint"), "{told}");
    server.json(&format!("delete {name} --as alice"));

    // A device that never had it finds no trace of it, and all the rest.
    server.json("login bob --as laptop");
    server.kill_and_restart();
    let history = server.json("history alice --as laptop");
    let acts: Vec<_> = history.iter().map(|event| event["act"].as_str().unwrap()).collect();
    assert_eq!(acts, ["edit", "react", "delete"], "{history:?}");

    server.json("send bob gone in a moment --as alice --expires 1s");
    server.json("listen --as alice --for 2s");
    assert_eq!(texts(&server.json("listen --as laptop --for 2s")), [""; 0]);

    let shown = server.json("privacy --presence contacts --reads hide --as bob");
    assert_eq!((&shown[0]["presence"], &shown[0]["reads"]), (&"contacts".into(), &"hide".into()));
    let seen = server.until("watch bob --for 3s --as alice", |seen| !seen.is_empty());
    assert_eq!(seen[0]["state"], "hidden");
    server.json("contacts --add alice --as bob");
    let seen = server.until("watch bob --for 3s --as alice", |seen| !seen.is_empty());
    assert_eq!(seen[0]["state"], "offline");

    server.json("block alice --as bob");
    server.run("send bob unwanted --as alice");
    server.json("unblock alice --as bob");
    server.json("send bob wanted --as alice");
    let heard = server.json("listen --as bob --count 2 --for 3s --from alice");
    assert!(!texts(&heard).contains(&"unwanted"), "{heard:?}");
}

#[test]
fn a_group_from_its_first_word_to_its_last() {
    let mut server = Server::start();
    for name in ["alice", "bob", "carol"] {
        server.json(&format!("register {name}"));
    }
    let made = server.json("group create team bob --as alice");
    let group = made[0]["group"].as_str().unwrap().to_owned();
    assert!(group.starts_with("g_") && made[0]["members"] == 2, "{made:?}");
    let sent = server.json("send team lunch at noon --as bob");
    assert_eq!((&sent[0]["event"], &sent[0]["place"]), (&"accepted".into(), &2.into()));
    let heard = server.json("listen --as alice --count 1 --for 20s");
    let message = heard.iter().find(|event| event["text"] == "lunch at noon").unwrap();
    assert_eq!((&message["group"], &message["from"]), (&"team".into(), &"bob".into()));

    let told = server.failure("send team me too --as carol");
    assert!(told.contains("nobody called team"), "a name says nothing to others: {told}");
    let told = server.failure(&format!("send {group} me too --as carol"));
    assert!(told.contains("not a member") && told.contains("4101"), "{told}");
    let told = server.failure("group remove team alice --as bob");
    assert!(told.contains("only its admins") && told.contains("4107"), "{told}");

    server.json("group add team carol --as bob");
    server.json("group promote team bob --as alice");
    server.json("group rename team lunch --as bob");
    server.kill_and_restart();
    let members = &server.json("group members lunch --as carol")[0];
    let role = |name: &str| {
        let all = members["members"].as_array().unwrap();
        all.iter().find(|member| member["name"] == name).unwrap()["role"].clone()
    };
    assert_eq!(
        (role("alice"), role("bob"), role("carol")),
        ("admin".into(), "admin".into(), "member".into())
    );
    server.json("send lunch hello --as carol");
    let history = server.json("history lunch --as carol");
    let texts: Vec<_> = history.iter().filter_map(|event| event["text"].as_str()).collect();
    assert_eq!(texts.last(), Some(&"hello"), "its own, too: {history:?}");
    assert!(!texts.contains(&"lunch at noon"), "that was before: {history:?}");

    server.json("group leave lunch --as carol");
    let told = server.failure(&format!("send {group} bye --as carol"));
    assert!(told.contains("not a member"), "{told}");
    let groups = &server.json("group list --as alice")[0]["groups"];
    assert_eq!(groups[0]["group"], group.as_str());
}

#[test]
fn a_soak_counts_every_message_of_groups() {
    let server = Server::start();
    let line = "soak --pairs 2 --rate 20 --duration 2s --progress 0s --groups 3 --group-size 6 \
                --group-online 5 --group-rate 60";
    let report = &server.json(line)[0];
    assert_eq!(report["ok"], true, "{report}");
    let groups = &report["groups"];
    assert_eq!((&groups["messages"], &groups["deliveries"]), (&120.into(), &600.into()));
    for field in ["lost", "duplicated", "reordered", "gaps"] {
        assert_eq!(groups[field], 0, "{field}: {report}");
    }
    assert!(groups["e2e_ms"]["p99"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_soak_has_slow_readers_and_connections_that_come_and_go() {
    let server = Server::start();
    let line =
        "soak --pairs 4 --rate 200 --duration 3s --progress 0s --slow 25 --slow-pause 1s --churn 5";
    let report = &server.json(line)[0];
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!((&report["slow"], &report["delivered"]), (&2.into(), &600.into()), "{report}");
    let (churned, reconnects) = (report["churned"].as_u64(), report["reconnects"].as_u64());
    assert!(churned >= Some(10) && reconnects >= churned, "{report}");
    // Two of six writers have a slow reader, whose time does not count.
    assert_eq!(report["e2e_ms"]["count"], 400, "{report}");
}

#[test]
fn failures_say_what_to_do() {
    let server = Server::start();
    for (line, expected) in [
        ("send bob hello", "iris register"),
        ("whoami --as alice", "iris register alice"),
        ("listen --as nobody", "there is no account nobody"),
    ] {
        let told = server.failure(line);
        assert!(told.contains(expected) && told.contains("hint"), "{line}: {told}");
    }
    server.json("register alice");
    for (line, expected) in [
        ("send nobody hello", "nobody called nobody"),
        ("send alice hello --server localhost:1 --timeout 2s", "is the server running"),
        ("revoke 7", "iris devices"),
        ("edit 5c0ffee1 other", "no message 5c0ffee1"),
        ("listen --count 1 --for 1s", "0 of 1"),
        ("register alice", "--as"),
    ] {
        let told = server.failure(line);
        assert!(told.contains(expected), "{line}: {told}");
    }
}

#[test]
fn a_soak_counts_every_message() {
    let server = Server::start();
    let accounts = server.files.path().join("soak.json");
    let line = "soak --pairs 4 --rate 200 --duration 2s --progress 0s --accounts-file";
    // The second run has the accounts of the first.
    for _ in 0..2 {
        let report = &server.json(&format!("{line} {}", accounts.display()))[0];
        assert_eq!(report["ok"], true, "{report}");
        for field in ["submitted", "acked", "delivered"] {
            assert_eq!(report[field], 400, "{field}: {report}");
        }
        for field in ["lost", "duplicated", "reordered", "gaps"] {
            assert_eq!(report[field], 0, "{field}: {report}");
        }
        assert!(report["ack_ms"]["p99"].as_f64().unwrap() > 0.0);
        assert!(report["write_gap_ms"]["count"].as_u64().unwrap() > 0);
    }
    let output = server.run("soak --pairs 1 --duration 0s --json");
    assert!(!output.status.success(), "a run without traffic is no success");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["violations"][0], "no traffic");
}

#[test]
fn the_server_refuses_what_it_must() {
    let server = Server::start();
    let key = server.files.path().join("dev/signing.pem");
    let report = &server.json(&format!("probe --repeat 2 --signing-key {}", key.display()))[0];
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!((&report["failed"], &report["skipped"]), (&0.into(), &0.into()), "{report}");
    assert!(report["checks"].as_array().unwrap().len() > 40, "{report}");
}
