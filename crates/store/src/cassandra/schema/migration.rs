//! The migrations, in order. A released one never changes: a change is the next one.

/// One migration.
#[derive(Debug)]
pub(super) struct Migration {
    /// What people call it.
    pub(super) name: &'static str,
    text: &'static str,
}

/// Every migration; the first has version 1.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration { name: "initial", text: include_str!("../../../schema/0001_initial.cql") },
    Migration { name: "people", text: include_str!("../../../schema/0002_people.cql") },
    Migration { name: "groups", text: include_str!("../../../schema/0003_groups.cql") },
    Migration { name: "suspects", text: include_str!("../../../schema/0004_suspects.cql") },
];

impl Migration {
    /// Its statements, without comments and with single spaces; `{keyspace}` is still in them.
    pub(super) fn statements(&self) -> Vec<String> {
        let code = |line: &'static str| line.split_once("--").map_or(line, |(code, _)| code);
        let text: Vec<_> = self.text.lines().map(code).flat_map(str::split_whitespace).collect();
        let text = text.join(" ");
        let statements = text.split(';').map(str::trim).filter(|statement| !statement.is_empty());
        statements.map(str::to_owned).collect()
    }

    /// Of its statements: a comment may be improved.
    pub(super) fn checksum(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for statement in self.statements() {
            hasher.update(statement.as_bytes());
            hasher.update(b";");
        }
        hasher.finalize().to_hex().chars().take(32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A released migration never changes: its checksum is written down here once and for ever.
    #[test]
    fn released_migrations_are_what_they_were() {
        let known = [
            "4945738f1b64374589fff78210e0ab97",
            "04a9d136adfcf7998663896804db3dd9",
            "12f9057996aecb2f874415c8381f2fd8",
            "5d4113b8e45565e74d4c909b5a221120",
        ];
        let found: Vec<_> = MIGRATIONS.iter().map(Migration::checksum).collect();
        assert_eq!(found, known);
    }

    #[test]
    fn migrations_only_add_and_can_be_repeated() {
        for migration in MIGRATIONS {
            let statements = migration.statements();
            assert!(!statements.is_empty(), "{}", migration.name);
            for statement in statements {
                let creates = statement.starts_with("CREATE TABLE IF NOT EXISTS {keyspace}.");
                let adds = statement.starts_with("ALTER TABLE {keyspace}.")
                    && statement.contains(" ADD IF NOT EXISTS ");
                assert!(creates || adds, "{statement}");
                assert!(!statement.contains("--"), "{statement}");
            }
        }
    }
}
