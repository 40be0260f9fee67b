//! The views for people who write SQL: their columns are stable, and in PostgreSQL of types that people read.

use super::super::{Dialect, sql::Sql};
use super::{Test, on_both, report_house::house};
use crate::stats::report::wilson;

/// Each view with its columns in their order, and their types in PostgreSQL. A column may be added at the end; nothing else
/// may change.
const VIEWS: [(&str, &str); 5] = [
    (
        "v_attempt",
        "call_id text, receipt_id text, purpose text, client text, batch text, case_reference text, case_id bigint, agent text, \
         team text, bucket text, relation text, number_kind text, trunk text, caller_id text, zone text, local_date date, \
         local_hour bigint, started_at timestamptz, seized_at timestamptz, rang_at timestamptz, answered_at timestamptz, \
         ended_at timestamptz, cause text, fault_of text, sip_status bigint, q850 bigint, ended_by text, connected boolean, \
         lost_ours boolean, talk_s numeric, disposition text, right_party boolean, first_call boolean",
    ),
    (
        "v_connect_rate_hourly",
        "dimension text, value text, label text, local_date date, local_hour bigint, attempts bigint, lost_ours bigint, \
         seizures bigint, connected bigint, right_party bigint, connect_rate numeric, raw_rate numeric, asr numeric, \
         ner numeric, rpc_rate numeric, talk_s numeric, client text, low numeric, high numeric, raw_low numeric, \
         raw_high numeric, asr_low numeric, asr_high numeric, ner_low numeric, ner_high numeric, rpc_low numeric, rpc_high numeric",
    ),
    (
        "v_connect_rate_daily",
        "dimension text, value text, label text, local_date date, attempts bigint, lost_ours bigint, seizures bigint, \
         connected bigint, right_party bigint, connect_rate numeric, raw_rate numeric, asr numeric, ner numeric, \
         rpc_rate numeric, talk_s numeric, sealed_at timestamptz, corrections bigint, client text, low numeric, high numeric, raw_low numeric, \
         raw_high numeric, asr_low numeric, asr_high numeric, ner_low numeric, ner_high numeric, rpc_low numeric, rpc_high numeric",
    ),
    (
        "v_case",
        "case_id bigint, client text, batch text, reference text, state text, reason text, currency text, placed numeric, \
         balance numeric, repaid numeric, overdue_days bigint, bucket text, region text, mark text, team text, agent text, \
         revealed_at timestamptz, allocated_at timestamptz, worked_at timestamptz, called_at timestamptz, \
         followed_at timestamptz",
    ),
    (
        "v_refusal",
        "receipt_id text, refused_at timestamptz, client text, case_id bigint, agent text, reasons text",
    ),
];

on_both! {
    async fn the_views_have_the_columns_that_are_promised_in_types_that_people_read(test: Test) {
        let mut tx = test.db.read().await.unwrap();
        let (all, columns) = match tx.dialect() {
            Dialect::Sqlite => (
                "SELECT name FROM sqlite_master WHERE type = 'view' ORDER BY name",
                "SELECT name, '' AS type FROM pragma_table_info($1) ORDER BY cid",
            ),
            Dialect::Postgres => (
                "SELECT CAST(table_name AS TEXT) AS name FROM information_schema.views WHERE table_schema = 'public' ORDER BY 1",
                "SELECT CAST(column_name AS TEXT) AS name, CAST(udt_name AS TEXT) AS type FROM information_schema.columns
                 WHERE table_name = $1 ORDER BY ordinal_position",
            ),
        };
        let rows = tx.fetch_all(&Sql { act: "list the views", text: all }, vec![]).await.unwrap();
        let mut promised: Vec<_> = VIEWS.iter().map(|(view, _)| (*view).to_owned()).collect();
        promised.sort();
        assert_eq!(rows.iter().map(|row| row.get::<String>("name").unwrap()).collect::<Vec<_>>(), promised);
        for (view, wanted) in VIEWS {
            let sql = Sql { act: "list the columns of a view", text: columns };
            let rows = tx.fetch_all(&sql, args![view]).await.unwrap();
            let found: Vec<_> = rows.iter().map(|row| {
                let (name, kind): (String, String) = (row.get("name").unwrap(), row.get("type").unwrap());
                // By the names that PostgreSQL shows people.
                let kind = match kind.as_str() {
                    "int8" => "bigint",
                    "bool" => "boolean",
                    other => other,
                };
                format!("{name} {kind}").trim_end().to_owned()
            }).collect();
            let wanted: Vec<_> = wanted.split(", ").map(|column| match tx.dialect() {
                Dialect::Postgres => column.to_owned(),
                Dialect::Sqlite => column.split(' ').next().unwrap().to_owned(),
            }).collect();
            assert_eq!(found, wanted, "{view}");
        }
    }

    async fn batches_of_two_clients_with_one_code_stay_apart_and_each_rate_has_its_interval(test: Test) {
        house(&test).await;
        let mut tx = test.db.read().await.unwrap();
        for view in ["v_connect_rate_daily", "v_connect_rate_hourly"] {
            let text = format!(
                "SELECT client, label, CAST(SUM(attempts) AS BIGINT) AS attempts FROM {view} WHERE dimension = 'batch'
                 GROUP BY client, label ORDER BY attempts, label"
            );
            let sql = Sql { act: "read a view", text: Box::leak(text.into_boxed_str()) };
            let rows = tx.fetch_all(&sql, vec![]).await.unwrap();
            let mut of: Vec<(String, String)> =
                rows.iter().map(|row| (row.get("client").unwrap(), row.get("label").unwrap())).collect();
            of.sort();
            let wanted = ["Zbank", "abank", "o'bank"].map(|client| (client.to_owned(), "2026-11".to_owned()));
            assert_eq!(of, wanted, "{view}");
            let text = format!("SELECT COUNT(*) AS n FROM {view} WHERE (client IS NULL) = (dimension IN ('client', 'batch'))");
            let sql = Sql { act: "read a view", text: Box::leak(text.into_boxed_str()) };
            let n: i64 = tx.fetch_one(&sql, vec![]).await.unwrap().get("n").unwrap();
            assert_eq!(n, 0, "{view}: only what belongs to a client names one");
            let text = format!(
                "SELECT attempts, lost_ours, seizures, connected, right_party, CAST(ner * seizures AS TEXT) AS effective,
                        CAST(low AS TEXT) AS low, CAST(high AS TEXT) AS high, CAST(raw_low AS TEXT) AS raw_low,
                        CAST(raw_high AS TEXT) AS raw_high, CAST(asr_low AS TEXT) AS asr_low, CAST(asr_high AS TEXT) AS asr_high,
                        CAST(ner_low AS TEXT) AS ner_low, CAST(ner_high AS TEXT) AS ner_high, CAST(rpc_low AS TEXT) AS rpc_low,
                        CAST(rpc_high AS TEXT) AS rpc_high FROM {view}"
            );
            let sql = Sql { act: "read a view", text: Box::leak(text.into_boxed_str()) };
            let rows = tx.fetch_all(&sql, vec![]).await.unwrap();
            let mut without = 0;
            for row in &rows {
                let int = |column| row.get::<i64>(column).unwrap();
                let real = |column| row.get::<Option<String>>(column).unwrap().map(|text| text.parse::<f64>().unwrap());
                let effective = real("effective").unwrap_or_default().round() as i64;
                for (over, of, low, high) in [
                    (int("connected"), int("attempts") - int("lost_ours"), "low", "high"),
                    (int("connected"), int("attempts"), "raw_low", "raw_high"),
                    (int("connected"), int("seizures"), "asr_low", "asr_high"),
                    (effective, int("seizures"), "ner_low", "ner_high"),
                    (int("right_party"), int("connected"), "rpc_low", "rpc_high"),
                ] {
                    let wanted = wilson(over, of);
                    let near = |found: Option<f64>, wanted: Option<f64>| match (found, wanted) {
                        (Some(found), Some(wanted)) => (found - wanted).abs() < 1e-6,
                        (found, wanted) => found == wanted,
                    };
                    assert!(near(real(low), wanted.map(|r| r.low)), "{view} {low}: {over} of {of}");
                    assert!(near(real(high), wanted.map(|r| r.high)), "{view} {high}: {over} of {of}");
                    without += usize::from(wanted.is_none());
                }
            }
            assert!(rows.len() > 100 && without > 0, "{view}: {} rows", rows.len());
        }
    }
}
