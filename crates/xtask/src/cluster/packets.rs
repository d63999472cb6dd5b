//! Faults of single pods' packets, on the node that forwards them: dropped, refused, lost at random,
//! doubled, or handed to a program that decides when they go on; and how many packets met them.
//!
//! Never touches what a node itself sends or gets, so a kubelet still reaches the pods of its node.

use std::{fmt, net::Ipv4Addr};

use anyhow::{Context, Result, ensure};

use super::{
    Cluster, NodeId, Place,
    faults::{CHAIN_PASS, CHAIN_REFUSE},
    netns,
};

/// Packets of pods, by their addresses; without one it is any. Addresses are those of pods: a Service's
/// is translated before a packet is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Who sends.
    pub from: Option<Ipv4Addr>,
    /// Who gets.
    pub to: Option<Ipv4Addr>,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    /// It vanishes; the sender waits.
    Drop,
    /// Its TCP connection is reset; the sender knows at once.
    Reset,
    /// It vanishes with this chance, in percent.
    Lose(f64),
    /// With this chance, in percent, it comes twice.
    Double(f64),
    /// A program behind this queue of the kernel says when it goes on. Without such a program it goes on
    /// at once, so the death of the program ends the fault.
    Queue(u16),
}

impl Flow {
    /// From one pod to another.
    pub fn between(from: Ipv4Addr, to: Ipv4Addr) -> Self {
        Self { from: Some(from), to: Some(to) }
    }

    fn matches(self) -> Vec<String> {
        let sides = [("-s", self.from), ("-d", self.to)];
        let set = sides.into_iter().filter_map(|(flag, side)| Some((flag, side?)));
        set.flat_map(|(flag, side)| [flag.to_owned(), format!("{side}/32")]).collect()
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word =
            |side: Option<Ipv4Addr>| side.map_or_else(|| "any".to_owned(), |ip| ip.to_string());
        write!(f, "{} to {}", word(self.from), word(self.to))
    }
}

impl Cluster {
    /// Gives the packets of a flow that a node forwards their fate, until [`Cluster::spare`].
    pub fn interfere(&self, node: NodeId, flow: Flow, fate: Fate) -> Result<()> {
        let place = Place::Node(node);
        self.prepare_chains(place)?;
        let rule = rule(flow, fate)?;
        self.iptables(place).args(rule).run()
    }

    /// Ends every interference with the packets that a node forwards.
    pub fn spare(&self, node: NodeId) {
        self.drop_chains(Place::Node(node));
    }

    /// How many packets met a fault's rules at a node since those were made: for [`Fate::Lose`] and
    /// [`Fate::Double`] those that were really lost or doubled.
    pub fn packets_met(&self, node: NodeId) -> Result<u64> {
        let save = netns::inside(self.env(), Place::Node(node)).args(["iptables-save", "-c"]);
        Ok(hits(&save.output()?))
    }

    /// How often the limit of [`Cluster::bandwidth`] held a packet of a place back.
    pub fn packets_held_back(&self, place: Place) -> Result<u64> {
        let show = ["tc", "-s", "qdisc", "show", "dev", "eth0"];
        let text = netns::inside(self.env(), place).args(show).output()?;
        overlimits(&text).with_context(|| format!("no limit is set: {text}"))
    }
}

fn rule(flow: Flow, fate: Fate) -> Result<Vec<String>> {
    let chance = |percent: f64| -> Result<Vec<String>> {
        ensure!((0.0..=100.0).contains(&percent), "{percent} is no percentage");
        let share = format!("{:.5}", percent / 100.0);
        Ok(words(&["-m", "statistic", "--mode", "random", "--probability", &share]))
    };
    let mut rule = match fate {
        // A refusal can only stand in the filter table, and only TCP can be reset.
        Fate::Reset => words(&["-t", "filter", "-A", CHAIN_REFUSE, "-p", "tcp"]),
        Fate::Drop | Fate::Lose(_) | Fate::Double(_) | Fate::Queue(_) => {
            words(&["-t", "mangle", "-A", CHAIN_PASS])
        }
    };
    rule.extend(flow.matches());
    rule.extend(match fate {
        Fate::Drop => words(&["-j", "DROP"]),
        Fate::Reset => words(&["-j", "REJECT", "--reject-with", "tcp-reset"]),
        Fate::Lose(percent) => [chance(percent)?, words(&["-j", "DROP"])].concat(),
        Fate::Double(percent) => {
            // The copy is routed anew, to where the packet goes anyway.
            let to = flow.to.context("only packets to a certain pod can be doubled")?.to_string();
            [chance(percent)?, words(&["-j", "TEE", "--gateway", &to])].concat()
        }
        Fate::Queue(number) => {
            words(&["-j", "NFQUEUE", "--queue-num", &number.to_string(), "--queue-bypass"])
        }
    });
    Ok(rule)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The packets that met our rules, from what `iptables-save -c` prints: `[packets:bytes] -A CHAIN ...`.
fn hits(saved: &str) -> u64 {
    let ours = saved.lines().filter_map(|line| {
        let (counts, rule) = line.split_once("] ")?;
        let chain = rule.strip_prefix("-A ")?.split(' ').next()?;
        let packets = counts.strip_prefix('[')?.split(':').next()?;
        chain.starts_with("IRIS-FAULT-").then(|| packets.parse::<u64>().ok()).flatten()
    });
    ours.sum()
}

/// How often a packet was held back, from what `tc -s qdisc show` prints.
fn overlimits(shown: &str) -> Option<u64> {
    let (_, after) = shown.split_once("qdisc tbf")?.1.split_once("overlimits ")?;
    after.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 5);
    const OTHER: Ipv4Addr = Ipv4Addr::new(198, 18, 2, 6);

    fn line(flow: Flow, fate: Fate) -> String {
        rule(flow, fate).unwrap().join(" ")
    }

    #[test]
    fn each_fate_has_its_rule() {
        let flow = Flow::between(ONE, OTHER);
        let ends = "-s 198.18.1.5/32 -d 198.18.2.6/32";
        let mangle = format!("-t mangle -A IRIS-FAULT-PASS {ends}");
        assert_eq!(line(flow, Fate::Drop), format!("{mangle} -j DROP"));
        assert_eq!(
            line(flow, Fate::Reset),
            format!(
                "-t filter -A IRIS-FAULT-REFUSE -p tcp {ends} -j REJECT --reject-with tcp-reset"
            )
        );
        let chance = "-m statistic --mode random --probability 0.10000";
        assert_eq!(line(flow, Fate::Lose(10.0)), format!("{mangle} {chance} -j DROP"));
        assert_eq!(
            line(flow, Fate::Double(10.0)),
            format!("{mangle} {chance} -j TEE --gateway 198.18.2.6")
        );
        assert_eq!(
            line(flow, Fate::Queue(7)),
            format!("{mangle} -j NFQUEUE --queue-num 7 --queue-bypass")
        );
        let to = Flow { from: None, to: Some(OTHER) };
        assert!(line(to, Fate::Drop).ends_with("PASS -d 198.18.2.6/32 -j DROP"));
        assert!(rule(flow, Fate::Lose(101.0)).is_err());
        assert!(rule(Flow { from: Some(ONE), to: None }, Fate::Double(1.0)).is_err());
    }

    #[test]
    fn only_our_rules_are_counted_and_not_the_ways_to_them() {
        let saved = "*mangle\n:IRIS-FAULT-PASS - [0:0]\n\
                     [90:900] -A FORWARD -j IRIS-FAULT-PASS\n\
                     [3:180] -A IRIS-FAULT-PASS -s 198.18.1.5/32 -j DROP\n\
                     [4:240] -A IRIS-FAULT-PASS -d 198.18.1.5/32 -j DROP\nCOMMIT\n\
                     *filter\n[8:80] -A KUBE-FORWARD -j ACCEPT\nCOMMIT\n";
        assert_eq!(hits(saved), 7);
        assert_eq!(hits(""), 0);
    }

    #[test]
    fn a_limit_tells_how_often_it_held_a_packet_back() {
        let shown = "qdisc tbf 8001: root refcnt 2 rate 1Mbit burst 32Kb lat 400ms\n \
                     Sent 1050 bytes 7 pkt (dropped 2, overlimits 31 requeues 0)\n";
        assert_eq!(overlimits(shown), Some(31));
        assert_eq!(overlimits("qdisc noqueue 0: root refcnt 2\n"), None);
    }
}
