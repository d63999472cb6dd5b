//! Results as one page for a browser: the matrix, then every cell with its figures and its proof. It needs
//! nothing but itself. Pure.

use std::fmt::Write as _;

use super::catalogue::{Column, FAULTS, LEFT_OUT};
use super::select::Cell;
use super::table::seconds;
use super::verdict::{Outcome, READY_S_MAX, SETTLE_S_MAX};

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--ok:#2e7d3233;--bad:#c6282855}\
body{font:15px/1.5 system-ui,sans-serif;max-width:1200px;margin:2em auto;padding:0 1em}\
table{border-collapse:collapse;width:100%}\
th,td{border:1px solid var(--line);padding:.3em .6em;text-align:left;vertical-align:top}\
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\
td.ok{background:var(--ok)}td.bad{background:var(--bad)}td.none{color:#8888}\
code{font-family:ui-monospace,monospace}.wide{overflow-x:auto}ul{margin:0;padding-left:1.2em}";

/// The whole page.
pub fn page(outcomes: &[Outcome], seed: u64) -> String {
    let passed = outcomes.iter().filter(|outcome| outcome.passed).count();
    let failed = outcomes.len() - passed;
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>Iris: fault matrix</title><style>{STYLE}</style></head><body>\n\
         <h1>Iris: fault matrix</h1>\n<p>{passed} of {} cells passed, {failed} failed; seed <code>{seed}</code>. \
         Real packets and real kills on the local cluster, under 200 messages a second over every edge; \
         every message is in a ledger. A cell passes when nothing was lost, duplicated or reordered, \
         sends settled within {SETTLE_S_MAX:.0} s of the end of the fault, everything was Ready within \
         {READY_S_MAX:.0} s of it, and counters prove that the fault happened.</p>\n",
        outcomes.len(),
    );
    matrix(&mut html, outcomes);
    figures(&mut html, outcomes);
    details(&mut html, outcomes);
    html.push_str("<h2>Left out</h2>\n<ul>\n");
    for left_out in LEFT_OUT {
        line(
            &mut html,
            format_args!("<li><code>{}</code>: {}</li>", left_out.name, escaped(left_out.why)),
        );
    }
    html.push_str("</ul>\n</body></html>\n");
    html
}

fn line(html: &mut String, text: std::fmt::Arguments<'_>) {
    // A String takes everything.
    let _ = writeln!(html, "{text}");
}

fn matrix(html: &mut String, outcomes: &[Outcome]) {
    html.push_str(
        "<h2>Matrix</h2>\n<div class=\"wide\"><table>\n<tr><th>fault</th><th>what happens</th><th>alone</th>\
         <th>while its shards move</th></tr>\n",
    );
    for fault in FAULTS {
        let cells = [Column::Alone, Column::Move].map(|column| {
            let name = Cell { fault, column }.to_string();
            match outcomes.iter().find(|outcome| outcome.cell == name) {
                None => "<td class=\"none\">not run</td>".to_owned(),
                Some(outcome) => {
                    let (class, word) =
                        if outcome.passed { ("ok", "passed") } else { ("bad", "FAILED") };
                    format!("<td class=\"{class}\"><a href=\"#{name}\">{word}</a></td>")
                }
            }
        });
        let (name, what) = (fault.name, escaped(fault.what));
        line(
            html,
            format_args!("<tr><td><code>{name}</code></td><td>{what}</td>{}</tr>", cells.concat()),
        );
    }
    html.push_str("</table></div>\n");
}

fn figures(html: &mut String, outcomes: &[Outcome]) {
    html.push_str("<h2>Figures</h2>\n<div class=\"wide\"><table>\n<tr>");
    for heading in [
        "cell",
        "acked",
        "lost",
        "duplicated",
        "reordered",
        "gaps",
        "receipts missing",
        "told to retry",
        "reconnects",
        "write gap p50 ms",
        "p99 ms",
        "max ms",
        "settled",
        "Ready",
    ] {
        let _ = write!(html, "<th>{heading}</th>");
    }
    html.push_str("</tr>\n");
    for outcome in outcomes {
        let class = if outcome.passed { "ok" } else { "bad" };
        let _ = write!(html, "<tr><td class=\"{class}\"><code>{}</code></td>", outcome.cell);
        let counts = [
            outcome.acked,
            outcome.lost,
            outcome.duplicated,
            outcome.reordered,
            outcome.gaps,
            outcome.receipts_missing,
            outcome.told_to_retry,
            outcome.reconnects,
        ];
        let gaps = outcome.write_gap_ms.map_or([f64::NAN; 3], |gap| [gap.p50, gap.p99, gap.max]);
        let cells = counts.iter().map(ToString::to_string);
        let cells = cells.chain(gaps.iter().map(|gap| format!("{gap:.0}")));
        let cells = cells.chain([seconds(outcome.settle_s), seconds(outcome.ready_s)]);
        for cell in cells {
            let _ = write!(html, "<td class=\"n\">{cell}</td>");
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</table></div>\n");
}

fn details(html: &mut String, outcomes: &[Outcome]) {
    html.push_str("<h2>Proof</h2>\n");
    for outcome in outcomes {
        let word = if outcome.passed { "passed" } else { "FAILED" };
        line(html, format_args!("<h3 id=\"{0}\"><code>{0}</code>: {word}</h3>", outcome.cell));
        line(
            html,
            format_args!(
                "<p>{}. It took {:.0} s.</p><ul>",
                escaped(&outcome.what),
                outcome.seconds
            ),
        );
        for failure in &outcome.failures {
            line(html, format_args!("<li><strong>{}</strong></li>", escaped(failure)));
        }
        for counter in &outcome.proof {
            line(html, format_args!("<li>{}</li>", escaped(&counter.to_string())));
        }
        if let Some(moves) = outcome.moves {
            line(
                html,
                format_args!(
                    "<li>{} moves: {} succeeded, {} were given up, {} did not end</li>",
                    moves.ordered, moves.succeeded, moves.failed, moves.unfinished
                ),
            );
        }
        html.push_str("</ul>\n");
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::verdict::Seen;
    use super::super::verdict::tests::{good, judged};
    use super::*;

    #[test]
    fn a_page_has_every_fault_and_needs_nothing_else() {
        let html = page(&[judged(good())], 7);
        for fault in FAULTS {
            assert!(html.contains(&format!("<code>{}</code>", fault.name)), "{}", fault.name);
        }
        assert!(html.contains("1 of 1 cells passed") && html.contains("seed <code>7</code>"));
        assert!(html.contains("href=\"#kill-owner\"") && html.contains("id=\"kill-owner\""));
        for outside in ["http", "src=", "@import", "<script", "<link"] {
            assert!(!html.contains(outside), "{outside}");
        }
    }

    #[test]
    fn a_failure_is_shown_with_its_words_made_harmless() {
        let broken = Some("<b> & \"no leader\"".to_owned());
        let html = page(&[judged(Seen { broken, ..Seen::default() })], 0);
        assert!(html.contains("&lt;b&gt; &amp; &quot;no leader&quot;"), "{html}");
        assert!(html.contains("FAILED") && html.contains("1 failed"));
    }
}
