//! Rules that come into force, at one daemon and at several that share a database.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::{
    rulebook::files::tests::{BANK, Folder},
    store::tests::{NOW_MS, Test, floor, on_both},
};

/// The rules of a daemon of this name with these files.
fn rulebook(folder: &Folder, node: &str) -> Rulebook {
    Rulebook::open(Preset::CnPlan, Some(folder.0.path().into()), node).unwrap()
}

fn guard(guard_ms: u32) -> String {
    BANK.replace("9000", &guard_ms.to_string())
}

on_both! {
    async fn a_bad_file_later_leaves_the_rules_as_they_were_and_is_told(test: Test) {
        floor(&test.db, 1).await;
        let folder = Folder::new(&[("bank.toml", BANK)]);
        let rules = rulebook(&folder, "a");
        let noted = rules.note(&test.db, "system", NOW_MS).await.unwrap();
        assert_eq!(noted.changed, ["all", "bank"]);
        assert_eq!(rules.note(&test.db, "system", NOW_MS).await.unwrap().changed, Vec::<String>::new());
        folder.write("bank.toml", &guard(1));
        let error = rules.reload(&test.db, "lin", NOW_MS).await.unwrap_err().to_string();
        assert!(error.contains("bank.toml") && error.contains("line 6"), "{error}");
        assert_eq!(rules.fault(), Some(error));
        assert_eq!(rules.of("bank").ring.guard_ms, 9_000);
        folder.write("bank.toml", &guard(8_000).replace("'1'", "'2'"));
        folder.write("stranger.toml", BANK);
        let done = rules.reload(&test.db, "lin", NOW_MS + 1).await.unwrap();
        assert_eq!((done.changed, done.strangers), (vec!["bank".to_owned()], vec!["stranger".to_owned()]));
        assert_eq!((rules.of("bank").ring.guard_ms, rules.fault()), (8_000, None));
        // Without its file the bank is called by the general rules again, and the history says so.
        std::fs::remove_file(folder.0.path().join("bank.toml")).unwrap();
        let done = rules.reload(&test.db, "lin", NOW_MS + 2).await.unwrap();
        assert_eq!(done.changed, ["bank"]);
        assert_eq!(rules.of("bank").ring.guard_ms, 5_000);
        let mut tx = test.db.read().await.unwrap();
        let history = rules::history(&mut tx, Some("bank"), None, 9).await.unwrap();
        let revisions: Vec<_> = history.iter().map(|row| (row.client.is_some(), row.from_ms - NOW_MS)).collect();
        assert_eq!(revisions, [(true, 2), (true, 1), (true, 0), (false, 0)]);
    }

    async fn of_two_daemons_with_other_files_none_goes_by_the_looser_ones(test: Test) {
        floor(&test.db, 1).await;
        let (here, there) = (Folder::new(&[("bank.toml", BANK)]), Folder::new(&[("bank.toml", BANK)]));
        let (a, b) = (rulebook(&here, "a"), rulebook(&there, "b"));
        a.note(&test.db, "system", NOW_MS).await.unwrap();
        b.note(&test.db, "system", NOW_MS).await.unwrap();
        b.compare(&test.db, NOW_MS).await.unwrap();
        assert!(b.now().differing.is_empty());
        // Stricter files come to one daemon and are loaded there; the other's folder is still the old one.
        here.write("bank.toml", &guard(12_000));
        a.reload(&test.db, "lin", NOW_MS + 1).await.unwrap();
        assert_eq!(b.of("bank").ring.guard_ms, 9_000);
        b.compare(&test.db, NOW_MS + 2).await.unwrap();
        assert_eq!(b.of("bank").ring.guard_ms, 12_000);
        let words: Vec<String> = b.now().differing.iter().map(Differing::words).collect();
        assert_eq!(words, ["bank at node a"]);
        // The first one heeds the other's too, and both decide by the very same rules.
        a.compare(&test.db, NOW_MS + 2).await.unwrap();
        assert_eq!(a.now().of("bank").sha256, b.now().of("bank").sha256);
        // Looser files than the other daemon's do not loosen it either.
        here.write("bank.toml", &guard(6_000));
        a.reload(&test.db, "lin", NOW_MS + 3).await.unwrap();
        assert_eq!(a.of("bank").ring.guard_ms, 9_000);
        // What is decided by is kept under its hash, for each daemon.
        let mut tx = test.db.read().await.unwrap();
        let history = rules::history(&mut tx, Some("bank"), None, 9).await.unwrap();
        let newest = &history[0];
        assert_eq!((newest.node.as_str(), &newest.sha256), ("a", &a.now().of("bank").sha256));
        assert!(newest.source.contains("node b"), "{}", newest.source);
        assert!(rules::text(&mut tx, &newest.sha256).await.unwrap().is_some());
        tx.rollback().await.unwrap();
        // The files arrive: nobody has to say so to the other daemon.
        there.write("bank.toml", &guard(6_000));
        b.compare(&test.db, NOW_MS + 4).await.unwrap();
        a.compare(&test.db, NOW_MS + 5).await.unwrap();
        for rules in [&a, &b] {
            assert_eq!((rules.of("bank").ring.guard_ms, rules.now().differing.len()), (6_000, 0));
        }
    }

    async fn bad_files_are_told_and_do_not_keep_a_daemon_from_heeding_the_others(test: Test) {
        let (here, there) = (Folder::new(&[]), Folder::new(&[]));
        let (a, b) = (rulebook(&here, "a"), rulebook(&there, "b"));
        a.note(&test.db, "system", NOW_MS).await.unwrap();
        b.note(&test.db, "system", NOW_MS).await.unwrap();
        here.write("all.toml", BANK);
        there.write("all.toml", &guard(1));
        a.reload(&test.db, "lin", NOW_MS).await.unwrap();
        b.compare(&test.db, NOW_MS).await.unwrap();
        assert_eq!(b.of("any").ring.guard_ms, 9_000);
        assert!(b.fault().is_some_and(|fault| fault.contains("line 6")));
        there.write("all.toml", BANK);
        b.compare(&test.db, NOW_MS).await.unwrap();
        assert_eq!((b.of("any").ring.guard_ms, b.fault(), b.now().differing.len()), (9_000, None, 0));
    }

    async fn a_daemon_that_ended_binds_nobody(test: Test) {
        let (here, there) = (Folder::new(&[]), Folder::new(&[("all.toml", BANK)]));
        let (a, b) = (rulebook(&here, "a"), rulebook(&there, "b"));
        b.note(&test.db, "system", NOW_MS).await.unwrap();
        // Whoever starts heeds those that are at work before its first call.
        let noted = a.note(&test.db, "system", NOW_MS).await.unwrap();
        assert_eq!(noted.differing.iter().map(Differing::name).collect::<Vec<_>>(), ["all"]);
        assert_eq!(a.of("any").ring.guard_ms, 9_000);
        b.leave(&test.db).await.unwrap();
        a.compare(&test.db, NOW_MS + 1).await.unwrap();
        assert_eq!(a.of("any").ring.guard_ms, 5_000);
        // One that died without a word is heeded for a while.
        b.compare(&test.db, NOW_MS + 2).await.unwrap();
        a.compare(&test.db, NOW_MS + 3).await.unwrap();
        assert_eq!(a.of("any").ring.guard_ms, 9_000);
        a.compare(&test.db, NOW_MS + LIVE_MS + 3).await.unwrap();
        assert_eq!(a.of("any").ring.guard_ms, 5_000);
    }

    async fn a_client_that_only_one_daemon_has_a_file_for_is_called_by_it_everywhere(test: Test) {
        let (here, there) = (Folder::new(&[]), Folder::new(&[("bank.toml", BANK)]));
        let (a, b) = (rulebook(&here, "a"), rulebook(&there, "b"));
        b.note(&test.db, "system", NOW_MS).await.unwrap();
        a.note(&test.db, "system", NOW_MS).await.unwrap();
        assert_eq!((a.of("bank").ring.guard_ms, a.of("other").ring.guard_ms), (9_000, 5_000));
    }
}
