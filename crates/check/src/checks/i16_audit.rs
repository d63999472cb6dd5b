//! I16: the audit log has every act once, chained without a gap.

use std::collections::BTreeMap;

use crate::history::{Index, What};

use super::{Bounds, Findings};

pub(super) fn check(index: &Index<'_>, _: &Bounds, findings: &mut Findings) {
    let mut acts: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    let mut last: Option<(u64, &str)> = None;
    for event in index.events {
        match &event.what {
            What::Audited { act } => acts.entry(act).or_default().0 += 1,
            What::AuditEntry { seq, prev, hash, act } => {
                acts.entry(act).or_default().1 += 1;
                if let Some((before, before_hash)) = last {
                    if *seq != before + 1 {
                        findings.add(event.at, format!("entry {seq} follows entry {before}"));
                    }
                    if prev != before_hash {
                        findings.add(event.at, format!("entry {seq} does not chain"));
                    }
                } else if *seq != 1 {
                    findings.add(event.at, format!("the audit log begins with entry {seq}"));
                }
                last = Some((*seq, hash));
            }
            _ => {}
        }
    }
    for (act, (done, logged)) in acts {
        if done != logged {
            let text = format!("\"{act}\" was done {done} times and is logged {logged} times");
            findings.add(index.ends_at, text);
        }
    }
}
