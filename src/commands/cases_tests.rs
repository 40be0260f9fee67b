//! `ringfence cases` as it is typed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use clap::Parser;

use super::*;
use crate::{
    cases::fields,
    clock::{TestClock, TrustMode},
    store::{
        access::{self, Verdict},
        tests::{NOW_MS, Test, on_both},
    },
};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: CasesArgs,
}

struct Desk {
    test: Test,
    dir: tempfile::TempDir,
}

impl Desk {
    fn new(test: Test) -> Desk {
        Desk {
            test,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Runs a command line with `input` on standard input; gives what it printed or its whole error.
    async fn run(&self, line: &str, input: &str) -> Result<String, String> {
        let words = std::iter::once("cases").chain(line.split(' '));
        let args = Cli::try_parse_from(words).map_err(|e| e.to_string())?.args;
        let context = Context {
            db: &self.test.db,
            clock: Clock::test(TestClock::running(NOW_MS), TrustMode::Host),
            short: ShortCodes::default(),
            region: Region::CN,
            zone: jiff::tz::TimeZone::UTC,
            limits: crate::config::Floor::default(),
            key: &|_| Ok(fields::tests::key(self.dir.path())),
        };
        let mut out = Vec::new();
        let done = match args.command {
            CasesCommand::Find(args) => {
                look::find(&args, &context, &mut input.as_bytes(), &mut out).await
            }
            command => run(CasesArgs { command }, &context, &mut out).await,
        };
        let printed = String::from_utf8(out).unwrap();
        done.map(|()| printed.clone())
            .map_err(|e| format!("{printed}{e:#}"))
    }
}

#[derive(Parser)]
struct StatsCli {
    #[command(subcommand)]
    command: crate::commands::stats::StatsCommand,
}

impl Desk {
    /// `ringfence stats`, on the same database and day.
    async fn stats(&self, line: &str) -> String {
        let words = std::iter::once("stats").chain(line.split(' '));
        let command = StatsCli::try_parse_from(words).unwrap().command;
        let context = crate::commands::stats::Context {
            db: &self.test.db,
            clock: &Clock::test(TestClock::running(NOW_MS), TrustMode::Host),
            zone: &jiff::tz::TimeZone::UTC,
            reports_dir: self.dir.path(),
        };
        let mut out = Vec::new();
        let args = crate::commands::stats::StatsArgs { command };
        crate::commands::stats::run(args, &context, &mut out)
            .await
            .unwrap();
        String::from_utf8(out).unwrap()
    }
}

const CARD: &str = "案件编号,客户号,姓名,身份证号,卡号,委案金额,本人电话\n\
    C1,D1,王小明,11010519491231002X,4111111111111111,1000.50,13800138000\n";

on_both! {
    async fn a_case_is_imported_found_shown_marked_and_paid(test: Test) {
        let desk = Desk::new(test);
        let cards = desk.file("cards.csv", CARD);
        let import = format!(
            "import {cards} --client bank --batch B1 --template credit-card --new-client Bank --placed-on 2026-11-01"
        );
        let preview = desk.run(&format!("{import} --preview"), "").await.unwrap();
        assert!(
            preview.contains("preview, nothing was imported: 1 rows: 1 new cases"),
            "{preview}"
        );
        let done = desk.run(&import, "").await.unwrap();
        assert!(
            done.contains("1 rows: 1 new cases, 1 new numbers") && done.contains("import 1"),
            "{done}"
        );
        for (by, number) in [
            ("--identity", "110105-19491231-002x\n"),
            ("--card", "4111 1111 1111 1111"),
            ("--number", "138 0013 8000"),
        ] {
            let found = desk.run(&format!("find {by}"), number).await.unwrap();
            assert!(found.contains("C1") && found.contains("open"), "{found}");
        }
        let none = desk
            .run("find --card", "4111111111111112")
            .await
            .unwrap_err();
        assert!(none.contains("no case with this number"), "{none}");
        let bad = desk
            .run("find --identity", "110105194912310021")
            .await
            .unwrap_err();
        assert!(
            bad.contains("check digit") && !bad.contains("1101051949"),
            "{bad}"
        );
        desk.run("mark 1 red", "").await.unwrap();
        let shown = desk.run("show 1", "").await.unwrap();
        for part in ["****002X", "****1111", "red", "1000.50 CNY", "王小明"] {
            assert!(shown.contains(part), "{part} not in {shown}");
        }
        assert!(
            !shown.contains("1101051949") && !shown.contains("41111111"),
            "{shown}"
        );
        let whole = desk.run("show 1 --reveal police", "").await.unwrap();
        assert!(
            whole.contains("11010519491231002X") && whole.contains("4111111111111111"),
            "{whole}"
        );
        let paid = desk.file(
            "paid.csv",
            "案件编号,流水号,还款金额,还款日期\nC1,=P1,1000.50,2026-11-20\n",
        );
        let paid = desk
            .run(
                &format!("import {paid} --client bank --kind repayments"),
                "",
            )
            .await
            .unwrap();
        assert!(paid.contains("1 cases are settled"), "{paid}");
        let list = desk
            .run(
                "repayments --client bank --from 2026-11-01 --to 2026-11-30 --format csv",
                "",
            )
            .await
            .unwrap();
        assert!(
            list.contains("bank,C1,'=P1,1000.50,CNY,2026-11-20,yes,"),
            "{list}"
        );
        let list = desk
            .run("repayments --to 2026-10-31 --format csv", "")
            .await
            .unwrap();
        assert_eq!(list.lines().count(), 1, "{list}");
        let imports = desk.run("imports", "").await.unwrap();
        assert!(
            imports.contains("cards.csv")
                && imports.contains("repayments")
                && imports.contains("begun")
                && imports.contains("2026-11-23"),
            "{imports}"
        );
        let mut tx = desk.test.db.read().await.unwrap();
        let log = access::verify(&mut tx).await.unwrap();
        assert!(matches!(log, Verdict::Intact { rows: 3, .. }), "{log:?}");
    }

    async fn faulty_rows_are_named_and_written_and_a_template_that_does_not_fit_says_what_is_there(test: Test) {
        let desk = Desk::new(test);
        let bad = desk.file(
            "bad.csv",
            "case,debtor,name,relation,number\nC1,D1,N,debtor,12\n",
        );
        let errors = desk.dir.path().join("errors.csv").display().to_string();
        let import = format!("import {bad} --client bank --new-client Bank --batch B1");
        let refused = desk.run(&import, "").await.unwrap_err();
        assert!(
            refused.contains("--errors FILE") && refused.contains("line 2, column number"),
            "{refused}"
        );
        let refused = desk
            .run(&format!("{import} --errors {errors}"), "")
            .await
            .unwrap_err();
        assert!(
            refused.contains("correct the rows in the original and import it again")
                && refused.contains("--mode good-rows and then")
                && refused.contains("holds the faulty rows and no others"),
            "{refused}"
        );
        assert!(
            std::fs::read_to_string(&errors)
                .unwrap()
                .contains("ringfence_error")
        );
        let misfit = desk
            .run(&format!("{import} --template credit-card"), "")
            .await
            .unwrap_err();
        assert!(
            misfit.contains("this column is missing")
                && misfit.contains("case, debtor, name, relation, number"),
            "{misfit}"
        );
        let unknown = desk
            .run(&format!("{import} --template moon"), "")
            .await
            .unwrap_err();
        assert!(unknown.contains("templates list"), "{unknown}");
        let kind = desk
            .run(&format!("{import} --template updates"), "")
            .await
            .unwrap_err();
        assert!(kind.contains("--kind updates"), "{kind}");
        let batch = desk
            .run(&format!("import {bad} --client bank"), "")
            .await
            .unwrap_err();
        assert!(batch.contains("--batch"), "{batch}");
        let old = desk.file("old.xls", "\u{0}");
        std::fs::write(&old, [0xd0, 0xcf, 0x11, 0xe0]).unwrap();
        let old = desk
            .run(&format!("import {old} --client bank --batch B"), "")
            .await
            .unwrap_err();
        assert!(old.contains("old Excel file"), "{old}");
    }

    async fn the_file_of_faulty_rows_never_takes_the_place_of_the_file_itself(test: Test) {
        let desk = Desk::new(test);
        let text = "case,debtor,name,relation,number\nC1,D1,N,debtor,12\nC2,D2,M,debtor,13800138000\n";
        let file = desk.file("in.csv", text);
        let link = desk.dir.path().join("link.csv").display().to_string();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for errors in [&file, &link] {
            let line = format!(
                "import {file} --client bank --new-client Bank --batch B1 --mode good-rows --errors {errors}"
            );
            let refused = desk.run(&line, "").await.unwrap_err();
            assert!(
                refused.contains("that is the file to be imported"),
                "{refused}"
            );
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        }
        // What stands there stays until the new one is whole; without a fault there is none, and none is spoken of.
        let errors = desk.file("errors.csv", "mine");
        let good = desk.file(
            "good.csv",
            "case,debtor,name,relation,number\nC1,D1,N,debtor,13800138000\n",
        );
        let import = |file: &str| {
            format!("import {file} --client bank --new-client Bank --batch B1 --errors {errors}")
        };
        let done = desk.run(&import(&good), "").await.unwrap();
        assert!(!done.contains("errors.csv"), "{done}");
        let heads = desk.file("heads.csv", "a,b\n1,2\n");
        let refused = desk.run(&import(&heads), "").await.unwrap_err();
        assert!(!refused.contains("errors.csv"), "{refused}");
        assert_eq!(std::fs::read_to_string(&errors).unwrap(), "mine");
        desk.run(&import(&file), "").await.unwrap_err();
        let written = std::fs::read_to_string(&errors).unwrap();
        assert!(written.contains("C1,D1,N,debtor,12,"), "{written}");
        let left: Vec<_> = std::fs::read_dir(desk.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains("part"))
            .collect();
        assert_eq!(left, Vec::<String>::new());
    }

    async fn a_clients_own_template_goes_before_the_one_for_all_and_the_newest_counts(test: Test) {
        let desk = Desk::new(test);
        let file = desk.file("a.csv", "no,who,n,rel,tel\nC1,D1,N,debtor,13800138000\n");
        let import = format!("import {file} --client bank --new-client Bank --batch B1 --template own");
        let own = |heads: &str| {
            format!(
                "kind = \"cases\"\nname = \"own\"\n[[column]]\nto = \"case\"\nheads = [\"{heads}\"]\n\
                 [[contact]]\nname = {{ heads = [\"n\"] }}\nrelation_column = {{ heads = [\"rel\"] }}\nnumbers = [{{ heads = [\"tel\"] }}]\n"
            )
        };
        let wrong = desk.file("wrong.toml", "kind = \"cases\"\ncolour = 1\n");
        let refused = desk
            .run(&format!("templates check {wrong}"), "")
            .await
            .unwrap_err();
        assert!(
            refused.contains("wrong.toml") && refused.contains("colour"),
            "{refused}"
        );
        let general = desk.file("general.toml", &own("none"));
        desk.run(&format!("templates add {general}"), "")
            .await
            .unwrap();
        let misfit = desk.run(&import, "").await.unwrap_err();
        assert!(
            misfit.contains("column none: this column is missing"),
            "{misfit}"
        );
        for (heads, version) in [("nothing", 1), ("no", 2)] {
            let template = desk.file("own.toml", &own(heads));
            let added = desk
                .run(&format!("templates add {template} --client bank"), "")
                .await
                .unwrap();
            assert!(added.contains(&format!("version {version}")), "{added}");
        }
        let done = desk.run(&import, "").await.unwrap();
        assert!(done.contains("1 new cases"), "{done}");
        let list = desk.run("templates list", "").await.unwrap();
        assert!(
            list.contains("own") && list.contains("credit-card") && list.contains("bank"),
            "{list}"
        );
        let shown = desk.run("templates show simple", "").await.unwrap();
        assert!(shown.contains("name = \"simple\""), "{shown}");
        // What was entered can be read back, and withdrawn again.
        let show = async |line: &str| desk.run(&format!("templates {line}"), "").await;
        assert_eq!(show("show own --client bank").await.unwrap(), own("no"));
        assert_eq!(
            show("show own --client bank --version 1").await.unwrap(),
            own("nothing")
        );
        assert_eq!(show("show own").await.unwrap(), own("none"));
        let withdrawn = show("withdraw own --client bank").await.unwrap();
        assert!(
            withdrawn.contains("version 2 of the template own for cases is withdrawn"),
            "{withdrawn}"
        );
        assert_eq!(
            show("show own --client bank").await.unwrap(),
            own("nothing")
        );
        assert_eq!(
            show("show own --client bank --version 2").await.unwrap(),
            own("no")
        );
        let again = show("withdraw own --client bank --version 2")
            .await
            .unwrap_err();
        assert!(again.contains("withdrawn already"), "{again}");
        show("withdraw own --client bank").await.unwrap();
        let misfit = desk.run(&import, "").await.unwrap_err();
        assert!(
            misfit.contains("column none: this column is missing"),
            "{misfit}"
        );
        for unknown in [
            "show own --client bank",
            "show moon",
            "withdraw simple",
            "show own --version 9",
        ] {
            assert!(show(unknown).await.is_err(), "{unknown}");
        }
    }

    async fn a_contract_has_the_usual_rates_unless_told_otherwise(test: Test) {
        let desk = Desk::new(test);
        let cards = desk.file("cards.csv", CARD);
        let import =
            format!("import {cards} --client bank --new-client Bank --batch B1 --template credit-card");
        desk.run(&import, "").await.unwrap();
        let add = "contracts add --client bank --contract K1 --from 2026-01-01 --fee 20,28.5,35,42";
        desk.run(add, "").await.unwrap();
        let twice = desk.run(add, "").await.unwrap_err();
        assert!(twice.contains("already"), "{twice}");
        let list = desk.run("contracts list", "").await.unwrap();
        for part in ["85 %", "60 %", "28.5 %", "above_360", "5 %"] {
            assert!(list.contains(part), "{part} not in {list}");
        }
        for (rest, said) in [
            ("--fee 20,28", "four rates"),
            ("--fee 20,28,35,420", "no rate from 0 to 100"),
            ("--fee 20,28,35,4.001", "finer than"),
            (
                "--fee 20,28,35,42 --minimum 90,30,15,5",
                "above the base rate",
            ),
            ("--fee 20,28,35,42 --to 2025-01-01", "before --from"),
            (
                "--fee 20,28,35,42 --reduced-fee 10,14,18,43",
                "above the fee",
            ),
        ] {
            let line = format!("contracts add --client bank --contract K2 --from 2026-01-01 {rest}");
            let error = desk.run(&line, "").await.unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        desk.run(
            "contracts assign --client bank --contract K1 --batch B1",
            "",
        )
        .await
        .unwrap();
        let none = desk
            .run(
                "contracts assign --client bank --contract K1 --batch B9",
                "",
            )
            .await
            .unwrap_err();
        assert!(none.contains("no batch"), "{none}");
        let without = desk.run("pull --client bank", "").await.unwrap_err();
        assert!(without.contains("need PostgreSQL") || without.contains("no view foreign_cases"), "{without}");
    }

    async fn what_was_placed_and_paid_stands_in_the_recovery_report_with_its_commission(test: Test) {
        let desk = Desk::new(test);
        let cards = desk.file(
            "cards.csv",
            "案件编号,客户号,姓名,委案金额,逾期天数\nC1,D1,王小明,1000.50,60\nC2,D2,张伟,500,200\n",
        );
        let import = format!("import {cards} --client bank --template credit-card --batch");
        desk.run(&format!("{import} B1 --new-client Bank"), "")
            .await
            .unwrap();
        desk.run(
            "contracts add --client bank --contract K1 --from 2026-01-01 --fee 20,28.5,35,42",
            "",
        )
        .await
        .unwrap();
        desk.run(
            "contracts assign --client bank --contract K1 --batch B1",
            "",
        )
        .await
        .unwrap();
        let paid = desk.file(
            "paid.csv",
            "案件编号,流水号,还款金额,还款日期\nC1,P1,900.45,2026-11-23\n",
        );
        desk.run(
            &format!("import {paid} --client bank --kind repayments"),
            "",
        )
        .await
        .unwrap();
        // Without --placed-on the day of the import counts, and 90 % came back of what is 85 % by contract.
        let month = "report recovery --from 2026-11-01 --to 2026-11-30 --format csv";
        let report = desk.stats(month).await;
        let lines: Vec<&str> = report.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "bank,K1,to_90,CNY,1,1,1000.50,0,0.00,900.45,0.9000,0.8500,0.6000,full,180.09",
                "bank,K1,to_360,CNY,1,1,500.00,0,0.00,0.00,0.0000,0.4500,0.1500,running,",
            ]
        );
        let intake = desk.run("intake", "").await.unwrap();
        assert!(intake.contains("2026-11-23"), "{intake}");
        // The client says that it was in August: the payment came too late for this cycle.
        let placed = "contracts placed --client bank --batch B1 --on 2026-08-20";
        desk.run(placed, "").await.unwrap();
        assert_eq!(desk.stats(month).await.lines().count(), 1);
        let august = desk
            .stats("report recovery --from 2026-08-01 --to 2026-08-31 --format csv")
            .await;
        assert!(
            august.contains("0.00,0.0000,0.8500,0.6000,none,0.00"),
            "{august}"
        );
        desk.run(&format!("{import} B2 --placed-on 2026-10-05"), "")
            .await
            .unwrap();
        let other = desk
            .run(&format!("{import} B2 --placed-on 2026-10-06"), "")
            .await
            .unwrap_err();
        assert!(other.contains("placed on 2026-10-05"), "{other}");
        let paid = format!("import {paid} --client bank --kind repayments --placed-on 2026-10-06");
        let wrong = desk.run(&paid, "").await.unwrap_err();
        assert!(
            wrong.contains("--placed-on is for files of cases"),
            "{wrong}"
        );
    }

    async fn a_zone_is_put_on_record_for_one_person_and_in_the_books(test: Test) {
        let desk = Desk::new(test);
        let text = "case,debtor,name,relation,number\nC1,D1,王小明,debtor,13800138000\nC1,D1,李,friend,13800138000\n";
        let file = desk.file("cases.csv", text);
        let line = format!("import {file} --client bank --batch 2026-11 --new-client Bank");
        desk.run(&line, "").await.unwrap();
        let zone = "zone bank/C1 --number 13800138000 --reason said";
        for (line, remedy) in [
            (format!("{zone} --zone Europe/London"), "--contact"),
            (format!("{zone} --zone Mars --contact 1"), "IANA name"),
            (format!("{zone} --contact 1"), "--zone"),
            (format!("{zone} --none --contact 9"), "nobody of the case"),
        ] {
            let error = desk.run(&line, "").await.unwrap_err();
            assert!(
                error.contains(remedy) && !error.contains("138001"),
                "{line}: {error}"
            );
        }
        let set = format!("{zone} --zone europe/london --contact 1 --by lin");
        let done = desk.run(&set, "").await.unwrap();
        assert!(done.contains("from now on"), "{done}");
        assert!(
            desk.run(&set, "")
                .await
                .unwrap()
                .contains("as it was before")
        );
        let shown = desk.run("show 1", "").await.unwrap();
        assert_eq!(shown.matches("Europe/London").count(), 1, "{shown}");
        let mut tx = desk.test.db.read().await.unwrap();
        let sql = crate::store::sql::Sql {
            act: "count",
            text: "SELECT COUNT(*) AS n FROM access_log WHERE action = 'contact_point.zone' AND actor = 'lin'",
        };
        let noted: i64 = tx.fetch_one(&sql, vec![]).await.unwrap().get("n").unwrap();
        assert_eq!(noted, 1);
    }

    async fn cases_are_chosen_by_a_list_or_by_filters_and_open_again_after_a_mistake(test: Test) {
        let desk = Desk::new(test);
        crate::store::tests::floor(&desk.test.db, 3).await;
        let file = desk.file("list.csv", "case,why\nC0,asked\nC8,asked\n");
        let does = async |line: &str| desk.run(line, "").await.unwrap();
        let fails = async |line: &str| desk.run(line, "").await.unwrap_err();
        let pause = format!("pause --client bank --file {file} --reason asked");
        does(&pause).await;
        let list =
            format!("allocate plan --method even-both --client bank --file {file} --to-agent A1");
        let plan = fails(&list).await;
        assert!(plan.contains("no case is selected"), "C0 is paused: {plan}");
        let plan = does(&format!("{list} --state paused")).await;
        assert!(
            plan.contains("allocation 1 is planned")
                && plan.contains("left out")
                && plan.contains("C8"),
            "{plan}"
        );
        does("resume --state paused --reason back").await;
        let filters = "--case-type card --from-days 1 --to-days 9 --placed-from 2026-01-01 --placed-to 2026-01-02 \
                       --not-followed-since 2026-01-01 --field product=gold";
        assert!(
            does(&format!("close {filters} --reason none"))
                .await
                .starts_with("0 of 0")
        );
        assert!(
            does("close --client bank --reason mistake")
                .await
                .starts_with("3 of 3")
        );
        assert!(
            does("reopen --state closed --reason mended")
                .await
                .starts_with("3 of 3")
        );
        assert!(
            fails("reopen --state settled --settled --reason x")
                .await
                .contains("--file")
        );
    }
}
