//! The migrations as people read them: both databases hold the same tables, and each table and column says what it is.

use std::collections::BTreeMap;

/// Columns of each table in their order, as one database's migrations make them.
///
/// Panics at a table or column without a comment.
fn tables(name: &str, text: &str) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    let mut table: Option<(String, Vec<String>)> = None;
    let mut before = "";
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("CREATE TABLE ") {
            assert!(before.starts_with("-- "), "{name}: no word about {line}");
            let noun = rest.split([' ', '(']).next().unwrap().to_owned();
            table = Some((noun, Vec::new()));
        } else if let Some((noun, column)) = line
            .strip_prefix("ALTER TABLE ")
            .and_then(|rest| rest.split_once(" ADD COLUMN "))
        {
            let word = column.split(' ').next().unwrap();
            assert!(
                column.contains("; -- "),
                "{name}: no word about {noun}.{word}"
            );
            let columns: Option<&mut Vec<String>> = found.get_mut(noun);
            columns
                .unwrap_or_else(|| panic!("{name}: {noun} comes later"))
                .push(word.to_owned());
        } else if let Some(noun) = line.strip_prefix("DROP TABLE ") {
            // Made anew by a later step.
            assert!(
                found.remove(noun.trim_end_matches(';')).is_some(),
                "{name}: {line}: there is no such table"
            );
        } else if line.starts_with(')') {
            let (noun, columns) = table.take().unwrap();
            assert!(!columns.is_empty(), "{name}: {noun} has no columns");
            assert!(
                found.insert(noun, columns).is_none(),
                "{name}: {line} twice"
            );
        } else if let Some((noun, columns)) = &mut table {
            let word = line.trim_start().split(' ').next().unwrap();
            if word.starts_with(|first: char| first.is_ascii_lowercase()) {
                // What a column may be stands in a line of its own, and the comment behind it.
                let mut said = line.contains(" -- ");
                while let Some(more) = lines.next_if(|next| next.starts_with("                  "))
                {
                    said |= more.contains(" -- ");
                }
                assert!(said, "{name}: no word about {noun}.{word}");
                columns.push(word.to_owned());
            }
        }
        before = line;
    }
    assert!(table.is_none(), "{name}: a table does not end");
    found
}

#[test]
fn each_table_and_column_is_explained_and_both_databases_have_the_same() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let read = |database: &str| {
        let mut files: Vec<_> = std::fs::read_dir(dir.join(database))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        let names: Vec<_> = files
            .iter()
            .map(|file| file.file_name().unwrap().to_owned())
            .collect();
        let text: Vec<String> = files
            .iter()
            .map(|file| std::fs::read_to_string(file).unwrap())
            .collect();
        (names, tables(database, &text.concat()))
    };
    let (sqlite, postgres) = (read("sqlite"), read("postgres"));
    assert_eq!(sqlite.0, postgres.0, "the steps are not the same");
    assert_eq!(sqlite.1, postgres.1, "the tables are not the same");
    for noun in [
        "clients",
        "batches",
        "cases",
        "contact_points",
        "agents",
        "attempts",
        "receipts",
        "recordings",
        "rollup_hours",
    ] {
        assert!(sqlite.1.contains_key(noun), "no table {noun}");
    }
}

#[test]
#[should_panic(expected = "no word about t.b")]
fn a_column_without_a_word_is_found() {
    tables(
        "x",
        "-- A thing.\nCREATE TABLE t (\n    a INTEGER, -- one\n    b INTEGER\n);\n",
    );
}

#[test]
#[should_panic(expected = "no word about t.b")]
fn a_column_that_came_later_without_a_word_is_found() {
    tables(
        "x",
        "-- A thing.\nCREATE TABLE t (\n    a INTEGER -- one\n);\nALTER TABLE t ADD COLUMN b INTEGER;\n",
    );
}
