//! Which cells somebody wants, by name: `NAME` alone, `NAME+move` crossed with moves of shards, `NAME+`
//! both. Pure.

use std::fmt;

use super::catalogue::{Column, FAULTS, Fault, LEFT_OUT};

/// A cell of the matrix.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// Its row.
    pub fault: &'static Fault,
    /// Its column.
    pub column: Column,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            Column::Alone => f.write_str(self.fault.name),
            Column::Move => write!(f, "{}+move", self.fault.name),
        }
    }
}

/// Every cell: each fault alone, then crossed.
pub fn all() -> Vec<Cell> {
    FAULTS.iter().flat_map(both).collect()
}

/// The cells of a list of names; `Err` says which name is wrong and what there is.
///
/// # Errors
/// On a name that is no cell's, and on an empty list.
pub fn named<S: AsRef<str>>(names: &[S]) -> Result<Vec<Cell>, String> {
    let names = names.iter().map(|name| name.as_ref().trim()).filter(|name| !name.is_empty());
    let mut cells: Vec<Cell> = Vec::new();
    for name in names {
        for cell in one(name)? {
            if !cells.contains(&cell) {
                cells.push(cell);
            }
        }
    }
    if cells.is_empty() { Err("no cell is named".to_owned()) } else { Ok(cells) }
}

/// The cells of the catalogue's own lists.
pub fn of(list: &[(&str, Column)]) -> Vec<Cell> {
    let found = |name: &str| FAULTS.iter().find(|fault| fault.name == name);
    let cells = list
        .iter()
        .filter_map(|(name, column)| found(name).map(|fault| Cell { fault, column: *column }));
    cells.collect()
}

fn both(fault: &'static Fault) -> [Cell; 2] {
    [Column::Alone, Column::Move].map(|column| Cell { fault, column })
}

fn one(name: &str) -> Result<Vec<Cell>, String> {
    let (base, columns) = match name.split_once('+') {
        None => (name, &[Column::Alone][..]),
        Some((base, "move")) => (base, &[Column::Move][..]),
        Some((base, "")) => (base, &[Column::Alone, Column::Move][..]),
        Some((_, other)) => {
            return Err(format!(
                "{name}: there is no column {other}; NAME, NAME+move, or NAME+ for both"
            ));
        }
    };
    if let Some(left_out) = LEFT_OUT.iter().find(|left_out| left_out.name == base) {
        return Err(format!("{base} is left out: {}", left_out.why));
    }
    let Some(fault) = FAULTS.iter().find(|fault| fault.name == base) else {
        let close: Vec<_> =
            FAULTS.iter().map(|fault| fault.name).filter(|other| is_close(base, other)).collect();
        let hint = if close.is_empty() {
            "`cargo xtask chaos --list` shows all".to_owned()
        } else {
            format!("is it {}?", close.join(" or "))
        };
        return Err(format!("there is no fault {base}; {hint}"));
    };
    Ok(columns.iter().map(|column| Cell { fault, column: *column }).collect())
}

/// Whether both begin alike, or share a part between dashes.
fn is_close(one: &str, other: &str) -> bool {
    let begins = one.len() >= 3 && other.starts_with(one);
    begins || one.split('-').any(|part| part.len() >= 3 && other.split('-').any(|p| p == part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        named(list).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_name_is_a_cell_alone_or_crossed_or_both() {
        assert_eq!(names(&["kill-owner"]), ["kill-owner"]);
        assert_eq!(names(&["kill-owner+move", " loss-10 "]), ["kill-owner+move", "loss-10"]);
        assert_eq!(names(&["stop-8s+"]), ["stop-8s", "stop-8s+move"]);
        assert_eq!(names(&["stop-8s", "stop-8s+"]), ["stop-8s", "stop-8s+move"], "each once");
    }

    #[test]
    fn a_wrong_name_is_explained() {
        let wrong = |name: &str| named(&[name]).unwrap_err();
        assert!(wrong("kill-ownr").contains("kill-owner"), "{}", wrong("kill-ownr"));
        assert!(wrong("loss").contains("loss-10"));
        assert!(wrong("xyz").contains("--list"));
        assert!(wrong("kill-owner+moves").contains("NAME+move"));
        assert!(wrong("clock-jump").contains("left out"));
        assert!(named::<&str>(&[]).is_err());
        assert!(named(&[""]).is_err());
    }

    #[test]
    fn all_is_every_fault_twice() {
        let all = all();
        assert_eq!(all.len(), 2 * FAULTS.len());
        let again: Vec<_> = all.iter().map(ToString::to_string).collect();
        assert_eq!(named(&again).unwrap(), all, "names lead back to their cells");
        assert_eq!(of(super::super::catalogue::SHORT).len(), super::super::catalogue::SHORT.len());
    }
}
