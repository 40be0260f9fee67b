//! Statements as named constants, and the values bound to them.
//!
//! Every SQL text is a [`Sql`] constant made by [`statements!`], which also lists the constants of its file, so that
//! one test can prepare every statement on both databases. Parameters are `$1`, `$2`, … on both.

use crate::{
    ids::{
        AgentId, AgreementId, AllocationId, BarId, BatchId, CallId, CallbackId, CaseId, ClientId,
        ContactPointId, DebtorId, NoteId, PersonId, ReceiptId, RecordingId, TeamId, UserId,
    },
    policy::{BarKind, BarScope, CaseState, Relation},
};

/// One statement: what it does, for errors, and its text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sql {
    /// Completes the sentence "could not …".
    pub(crate) act: &'static str,
    /// The text, understood by SQLite and PostgreSQL alike.
    pub(crate) text: &'static str,
}

impl Sql {
    /// The number of parameters: the highest `$n` of the text. An argument too few would silently be NULL on SQLite.
    pub(crate) fn parameters(&self) -> usize {
        self.text
            .split('$')
            .skip(1)
            .filter_map(|rest| {
                let digits =
                    rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
                rest[..digits].parse().ok()
            })
            .max()
            .unwrap_or(0)
    }
}

/// Which database speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// A text as a literal of either dialect.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A statement with its values written into it, for people who run it by themselves; never run by ringfence.
pub(crate) fn filled(text: &str, args: &[Value]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let value = after[..digits]
            .parse::<usize>()
            .ok()
            .and_then(|n| args.get(n.checked_sub(1)?));
        match value {
            Some(Value::Int(Some(v))) => out.push_str(&v.to_string()),
            Some(Value::Text(Some(v))) => out.push_str(&literal(v)),
            Some(Value::Int(None) | Value::Text(None)) => out.push_str("NULL"),
            None => {
                out.push('$');
                out.push_str(&after[..digits]);
            }
        }
        rest = &after[digits..];
    }
    out + rest
}

/// Declares the statements of a file: `NAME("what it does") = "text";`.
macro_rules! statements {
    ($( $(#[$meta:meta])* $name:ident($act:literal) = $text:expr; )*) => {
        $( $(#[$meta])* const $name: crate::store::sql::Sql = crate::store::sql::Sql { act: $act, text: $text }; )*
        /// Every statement of this file, for the test that prepares them on both databases.
        #[cfg(test)]
        pub(crate) const STATEMENTS: &[crate::store::sql::Sql] = &[$($name),*];
    };
}

/// The arguments of a statement, each converted into a [`Value`].
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$(crate::store::sql::Value::from($value)),*] };
}

/// A bound value. There are two types because that is all that both databases store alike.
#[derive(Clone)]
pub(crate) enum Value {
    /// An integer, a time or a flag.
    Int(Option<i64>),
    /// A text, an id or JSON.
    Text(Option<String>),
}

macro_rules! value_from {
    ($($type:ty => $variant:ident($v:ident) $convert:expr;)*) => {$(
        impl From<$type> for Value {
            fn from($v: $type) -> Self { Value::$variant(Some($convert)) }
        }
        impl From<Option<$type>> for Value {
            fn from(v: Option<$type>) -> Self { Value::$variant(v.map(|$v: $type| $convert)) }
        }
    )*};
}
value_from! {
    i64 => Int(v) v;
    i32 => Int(v) i64::from(v);
    u32 => Int(v) i64::from(v);
    u16 => Int(v) i64::from(v);
    u8 => Int(v) i64::from(v);
    bool => Int(v) i64::from(v);
    &str => Text(v) v.to_owned();
    &String => Text(v) v.clone();
    String => Text(v) v;
    ClientId => Int(v) v.get();
    BatchId => Int(v) v.get();
    CaseId => Int(v) v.get();
    DebtorId => Int(v) v.get();
    PersonId => Int(v) v.get();
    ContactPointId => Int(v) v.get();
    AgentId => Int(v) v.get();
    AgreementId => Int(v) v.get();
    BarId => Int(v) v.get();
    UserId => Int(v) v.get();
    BarKind => Text(v) v.as_str().to_owned();
    BarScope => Text(v) v.as_str().to_owned();
    TeamId => Int(v) v.get();
    NoteId => Int(v) v.get();
    CallbackId => Int(v) v.get();
    AllocationId => Int(v) v.get();
    CaseState => Text(v) v.as_str().to_owned();
    Relation => Text(v) v.as_str().to_owned();
    CallId => Text(v) v.to_string();
    ReceiptId => Text(v) v.to_string();
    RecordingId => Text(v) v.to_string();
}

/// Declares an enumeration that is stored as a word: `as_str`, `Display`, `FromStr`.
macro_rules! words {
    ($(#[$meta:meta])* pub enum $name:ident { $( $(#[$vmeta:meta])* $variant:ident = $word:literal, )* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $( $(#[$vmeta])* $variant, )* }

        impl $name {
            /// Every value, in the order of its meaning.
            pub const ALL: &[$name] = &[$($name::$variant),*];

            /// The word that is stored and shown.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            /// The message lists the words that are allowed.
            fn from_str(word: &str) -> std::result::Result<Self, String> {
                let found = $name::ALL.iter().copied().find(|v| v.as_str() == word);
                found.ok_or_else(|| format!("must be one of: {}", [$($word),*].join(", ")))
            }
        }

        impl From<$name> for crate::store::sql::Value {
            fn from(v: $name) -> Self { v.as_str().into() }
        }
    };
}

pub(crate) use words;

#[cfg(test)]
mod tests {
    use super::{Sql, filled};

    #[test]
    fn the_highest_parameter_counts() {
        let sql = |text| Sql { act: "test", text };
        assert_eq!(sql("SELECT 1").parameters(), 0);
        assert_eq!(
            sql("SELECT $2, $1, $2 FROM t WHERE a = $11").parameters(),
            11
        );
    }

    #[test]
    fn values_are_written_as_literals_and_never_read_again() {
        let args = args!["it's $2", 7_i64, Option::<&str>::None];
        assert_eq!(
            filled("SELECT $1, $2, $2, $3, $9 FROM t", &args),
            "SELECT 'it''s $2', 7, 7, NULL, $9 FROM t"
        );
        assert_eq!(filled("SELECT 1", &[]), "SELECT 1");
    }
}
