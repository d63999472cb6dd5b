//! Text with `@NAMES@` in it, filled in; a name left over or never used is an error.

use anyhow::{Result, bail, ensure};

/// Replaces each `@NAME@` by its value.
pub(crate) fn render(template: &str, values: &[(&str, &str)]) -> Result<String> {
    let mut text = template.to_owned();
    for (name, value) in values {
        let mark = format!("@{name}@");
        ensure!(template.contains(&mark), "the template has no {mark}");
        text = text.replace(&mark, value);
    }
    if let Some(mark) = first_mark(&text) {
        bail!("the template's {mark} has no value");
    }
    Ok(text)
}

fn first_mark(text: &str) -> Option<String> {
    let is_name = |s: &str| {
        !s.is_empty()
            && s.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    let parts: Vec<&str> = text.split('@').collect();
    // A name stands between two marks, so neither the first nor the last part can be one.
    let inner = parts.get(1..parts.len().saturating_sub(1)).unwrap_or_default();
    inner.iter().find(|part| is_name(part)).map(|part| format!("@{part}@"))
}

#[cfg(test)]
mod tests {
    use super::render;

    #[test]
    fn every_mark_is_replaced() {
        let text = render("a: @A@\nb: @B_2@@A@", &[("A", "1"), ("B_2", "x@y")]).unwrap();
        assert_eq!(text, "a: 1\nb: x@y1");
    }

    #[test]
    fn a_missing_value_and_an_unknown_name_are_errors() {
        assert!(render("@A@ @B@", &[("A", "1")]).unwrap_err().to_string().contains("@B@"));
        assert!(render("@A@", &[("A", "1"), ("C", "2")]).unwrap_err().to_string().contains("@C@"));
    }

    #[test]
    fn other_at_signs_stand() {
        assert_eq!(render("me@example and @lower@", &[]).unwrap(), "me@example and @lower@");
    }
}
