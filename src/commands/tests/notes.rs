//! `ringfence notes`, and what is said of numbers: through the command line.

use super::*;

on_both! {
    async fn notes_are_finished_listed_and_written_in_a_banks_own_form(test: Test) {
        floor(&test.db, 1).await;
        let dir = tempfile::tempdir().unwrap();
        let does = async |line: &str| typed(&test, line, 0).await.unwrap();
        let fails = async |line: &str| typed(&test, line, 0).await.unwrap_err();
        let line = "notes write --case 1 --contact-point 1 --agent A1 --disposition promised --promise 1234.50 \
                    --promise-on 2026-11-30 --field branch=Pudong --text =ok";
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            does(&line)
                .await
                .contains("note 1 is finished; done with it: promise")
        );
        assert!(
            does("notes finish 1 --disposition wrong_number")
                .await
                .contains("invalid_number")
        );
        assert!(
            fails("notes finish 9 --disposition machine")
                .await
                .contains("no note 9")
        );
        assert!(
            fails("notes finish 1 --disposition promised")
                .await
                .contains("promise")
        );
        assert!(
            does("notes list --client bank --disposition wrong_number")
                .await
                .contains("C0")
        );
        let set = "notes dispositions set --client bank moved --name-en Moved --name-zh 搬家 --effect bar_number";
        assert!(does(set).await.contains("moved stands for bank"));
        assert!(
            does("notes dispositions list --client bank")
                .await
                .contains("搬家")
        );
        assert!(!does("notes dispositions list").await.contains("搬家"));
        assert!(
            fails("notes dispositions set X --name-en X --name-zh X")
                .await
                .contains("no code")
        );

        let form = dir.path().join("form.toml");
        std::fs::write(
            &form,
            "file = \"{client}-{today}\"\nformat = \"csv\"\ncolumn = [{ head = \"案件\", value = \"case\" }, \
             { head = \"结果\", value = \"disposition\", words = { wrong_number = \"WN\" } }, { head = \"催记\", value = \"text\" }]",
        )
        .unwrap();
        let add = format!(
            "notes templates add {} --client bank --name daily",
            form.display()
        );
        assert!(does(&add).await.contains("daily, version 1"));
        assert!(does(&add).await.contains("daily, version 2"));
        assert!(does("notes templates list").await.contains("daily"));
        does("notes finish 1 --disposition wrong_number --text =SUM(1)").await;
        let export = format!(
            "notes export --client bank --template daily --dir {}",
            dir.path().display()
        );
        assert!(does(&export).await.starts_with("1 notes in "));
        let text = std::fs::read_to_string(dir.path().join("bank-2026-11-23.csv")).unwrap();
        assert_eq!(text, "\u{feff}案件,结果,催记\r\nC0,WN,'=SUM(1)\r\n");
        assert!(fails(&export).await.contains("cannot make"));
        assert!(
            fails("notes export --template none")
                .await
                .contains("no template none")
        );
        let sample = dir.path().join("sample.toml");
        std::fs::write(&sample, does("notes templates sample").await).unwrap();
        assert!(
            does(&format!("notes templates add {}", sample.display()))
                .await
                .contains("default, version 1")
        );
    }

    async fn a_bank_gets_its_notes_in_its_own_encoding_and_nobody_else_reads_the_file(test: Test) {
        use std::os::unix::fs::PermissionsExt as _;
        floor(&test.db, 1).await;
        let dir = tempfile::tempdir().unwrap();
        let does = async |line: &str| typed(&test, line, 0).await.unwrap();
        let fails = async |line: &str| typed(&test, line, 0).await.unwrap_err();
        for encoding in ["gbk", "gb18030"] {
            let form = dir.path().join("form.toml");
            let text = format!(
                "file = \"{encoding}\"\nformat = \"csv\"\nencoding = {encoding:?}\n\
                 column = [{{ head = \"案件\", value = \"case\" }}, {{ head = \"催记\", value = \"text\" }}]"
            );
            std::fs::write(&form, text).unwrap();
            let add = format!("notes templates add {} --name {encoding}", form.display());
            does(&add).await;
        }
        does("notes write --case 1 --disposition negotiating --text 说好了").await;
        let export = |encoding: &str| {
            format!(
                "notes export --template {encoding} --dir {}",
                dir.path().display()
            )
        };
        does(&export("gbk")).await;
        let file = dir.path().join("gbk.csv");
        let bytes = std::fs::read(&file).unwrap();
        let (text, _, lost) = encoding_rs::GBK.decode(&bytes);
        assert!(!lost);
        assert_eq!(text, "案件,催记\r\nC0,说好了\r\n");
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // What GBK does not hold is said by note and column, and leaves no file.
        std::fs::remove_file(&file).unwrap();
        does("notes write --case 1 --disposition negotiating --text 𠮷").await;
        let refused = fails(&export("gbk")).await;
        assert!(
            refused.contains("note 2") && refused.contains("催记") && refused.contains("gb18030"),
            "{refused}"
        );
        assert!(!refused.contains('𠮷') && !file.exists(), "{refused}");
        does(&export("gb18030")).await;
        let wrong = "--from 2026-11-30 --to 2026-11-01";
        for line in [
            format!("{} {wrong}", export("gb18030")),
            format!("notes list {wrong}"),
        ] {
            assert!(
                fails(&line)
                    .await
                    .contains("2026-11-30 is after 2026-11-01"),
                "{line}"
            );
        }
    }

    async fn a_number_is_judged_by_calls_and_by_those_who_may(test: Test) {
        floor(&test.db, 1).await;
        let does = async |line: &str| typed(&test, line, 0).await.unwrap();
        let fails = async |line: &str| typed(&test, line, 0).await.unwrap_err();
        let write = "notes write --case 1 --contact-point 1 --disposition wrong_number";
        assert!(does(write).await.contains("no evidence of loss of contact"));
        for (token, line) in [
            (1, "users add lin --role lead --all-clients"),
            (2, "users add li --role qa --all-clients"),
        ] {
            typed(&test, line, token).await.unwrap();
        }
        assert!(
            does(&format!("{write} --by li"))
                .await
                .contains("no evidence")
        );
        assert!(
            !does(&format!("{write} --by lin"))
                .await
                .contains("no evidence")
        );
        assert!(
            fails(&format!("{write} --by nobody"))
                .await
                .contains("--by nobody")
        );
        let listed = does("cases numbers faults 1").await;
        assert!(
            listed.contains("wrong_number") && listed.contains("lin"),
            "{listed}"
        );
        assert!(does("cases show 1").await.contains("(invalid)"));
        let good = "cases numbers good 1 --reason answered --by lin";
        assert!(does(good).await.contains("3 faults lifted"));
        assert!(fails(good).await.contains("nothing is left to do"));
        assert!(does("cases show 1").await.contains("(usable)"));
        assert!(
            does("cases numbers faults 1")
                .await
                .contains("by lin: answered")
        );
        // A callback that nobody would place is not queued.
        let later = "notes write --case 1 --contact-point 1 --disposition callback --callback-at 2026-11-24T10:00:00+08:00";
        assert!(
            fails(later)
                .await
                .contains("callback_at_ms: nobody would call")
        );
        does("cases close --client bank --reason over").await;
        for line in [
            format!("{later} --agent A1"),
            "agents callbacks queue --contact-point 1 --agent A1 --at 2026-11-24T10:00:00+08:00".into(),
        ] {
            assert!(fails(&line).await.contains("the case is closed"), "{line}");
        }
        // Marks are colours, singly and in bulk.
        assert!(fails("cases mark 1 weird").await.contains("red, orange"));
        assert!(
            fails("cases mark-many --client bank --reason x --as weird")
                .await
                .contains("red, orange")
        );
        does("cases mark-many --client bank --reason x --as red").await;
        does("notes write --case 1 --disposition deceased").await;
        let shown = does("cases show 1").await;
        assert!(
            shown.contains("mark       red") && shown.contains("barred     deceased"),
            "{shown}"
        );
    }
}
