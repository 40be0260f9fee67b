//! Files as they come: every delimiter and encoding, broken, huge, and made to do harm.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::io::Write as _;

use proptest::prelude::*;
use rust_xlsxwriter::{Format, Workbook};

use super::*;

fn rows_of(bytes: &[u8], options: &Options) -> Result<Vec<SheetRow>, SheetError> {
    open(&Source::Bytes(bytes.into()), options)?.collect()
}

fn rows(bytes: impl AsRef<[u8]>) -> Result<Vec<SheetRow>, SheetError> {
    rows_of(bytes.as_ref(), &Options::default())
}

fn cells(bytes: impl AsRef<[u8]>) -> Vec<Vec<String>> {
    rows(bytes)
        .unwrap()
        .into_iter()
        .map(|row| row.cells)
        .collect()
}

fn error(bytes: impl AsRef<[u8]>) -> String {
    rows(bytes).unwrap_err().to_string()
}

const WANTED: [[&str; 2]; 2] = [["案件", "姓名"], ["C1", "王小明, 先生"]];

#[test]
fn every_delimiter_and_encoding_is_found_out() {
    for delimiter in [",", ";", "\t", "|"] {
        let text = format!("案件{delimiter}姓名\r\nC1{delimiter}\"王小明, 先生\"\r\n");
        assert_eq!(cells(&text), WANTED, "{delimiter}");
        assert_eq!(cells(format!("\u{feff}{text}")), WANTED);
        let (gbk, _, lossy) = encoding_rs::GBK.encode(&text);
        assert!(!lossy);
        assert_eq!(cells(&gbk), WANTED);
        let wide = |bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            format!("\u{feff}{text}")
                .encode_utf16()
                .flat_map(bytes)
                .collect()
        };
        assert_eq!(cells(wide(u16::to_le_bytes)), WANTED);
        assert_eq!(cells(wide(u16::to_be_bytes)), WANTED);
    }
}

#[test]
fn a_wrong_encoding_is_named_with_its_line() {
    let mut file = b"a,b\n1,2\n3,".to_vec();
    file.extend([0xcd, 0xf5, b'\n']);
    let told = Options {
        encoding: Encoding::Utf8,
        ..Options::default()
    };
    assert_eq!(
        rows_of(&file, &told).unwrap_err().to_string(),
        "line 3: not UTF-8: save the file as UTF-8"
    );
    file.extend([0xff, 0xff, b'\n']);
    assert!(
        error(&file).starts_with("line 4: not UTF-8 and not GBK"),
        "{}",
        error(&file)
    );
}

#[test]
fn of_a_file_in_utf8_with_one_line_in_gbk_that_line_is_named() {
    let mut file = "案件,姓名甲\nC1,张三\nC2,".as_bytes().to_vec();
    file.extend([0xd5, 0xc5, 0xc8, 0xfd, b'\n']);
    assert!(
        error(&file).starts_with("line 3: not UTF-8 and not GBK"),
        "{}",
        error(&file)
    );
}

#[test]
fn empty_rows_are_left_out_and_lines_are_counted_as_an_editor_does() {
    let read = rows("a,b\n\n,\n\"x\ny\",2\nz,3\n").unwrap();
    let lines: Vec<_> = read.iter().map(|row| row.line).collect();
    assert_eq!(lines, [1, 4, 6]);
    for end in ["\n", "\r\n"] {
        let text = "\n\na,b\n\n\n1,2\n\"x\n\n\",2\n\n3,4\n5,6".replace('\n', end);
        let read = rows(text).unwrap();
        let lines: Vec<_> = read.iter().map(|row| row.line).collect();
        assert_eq!(lines, [3, 6, 7, 11, 12], "{end:?}");
    }
    assert!(error("").contains("the file is empty"));
}

#[test]
fn a_quotation_mark_that_is_not_closed_is_named_and_fills_no_memory() {
    let file = format!("a,b\nc,\"{}", "x,y\n".repeat(600_000));
    assert!(
        error(&file).starts_with("line 2: a row of more than 1024 KiB begins here"),
        "{}",
        error(&file)
    );
}

#[test]
fn a_file_that_ends_inside_of_quotation_marks_is_refused_with_the_line_where_they_open() {
    for (text, line) in [
        ("a,b\nR1,\"stray\nR2,x\nR3,y\n", 2),
        ("a,b\nR1,\"x\"\n\"R2\",\"\"\"\nR3,y", 3),
        ("\"a,b\nR1,x\n", 1),
    ] {
        let said = error(text);
        assert!(
            said.starts_with(&format!(
                "line {line}: a quotation mark opens here that is never closed"
            )),
            "{text}\n{said}"
        );
    }
    // Marks inside of a cell without marks around it are text, and doubled ones stand for one.
    for text in [
        "a,b\nR1,5\" tube\n",
        "a,b\nR1,\"5\"\" tube\"\n",
        "a,b\nR1,\"x\"",
    ] {
        assert_eq!(rows(text).unwrap().len(), 2, "{text}");
    }
}

#[test]
fn a_cell_that_holds_a_row_and_values_behind_the_last_head_are_told() {
    let read =
        rows("a,b,c,\nR1,x,\"stray\nR2,y,z\nR3,w,\"q\nR4,\"one\ntwo, three\",4\nR5,1,000,5\n")
            .unwrap();
    let heads = read[0].heads();
    assert_eq!(heads, 3);
    let told: Vec<_> = read
        .iter()
        .map(|row| {
            let found = row.misfits(heads, |_| false).into_iter();
            (row.line, found.map(|(at, _)| at).collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(told, [(1, vec![]), (2, vec![2]), (5, vec![]), (7, vec![3])]);
    // What a template reads by its letter need not have a head.
    assert!(read[3].misfits(heads, |at| at == 3).is_empty());
}

#[test]
fn a_file_of_two_encodings_is_refused_and_not_read_as_one_of_them() {
    let (gbk, _, _) = encoding_rs::GBK.encode("案件,地址\nC1,上海市浦东新区\n");
    let mut file = gbk.to_vec();
    file.extend("C2,北京市朝阳区二号\n".as_bytes());
    assert!(
        error(&file).starts_with("line 3: this line is UTF-8, but line 1 is not"),
        "{}",
        error(&file)
    );
    let told = Options {
        encoding: Encoding::Gbk,
        ..Options::default()
    };
    assert_eq!(rows_of(&file, &told).unwrap().len(), 3);
}

#[test]
fn too_many_rows_cells_and_bytes_are_refused() {
    let options = |limits| Options {
        limits,
        ..Options::default()
    };
    let limits = Limits {
        rows: 2,
        ..Limits::default()
    };
    assert!(
        rows_of(b"a\nb\nc\n", &options(limits))
            .unwrap_err()
            .to_string()
            .starts_with("line 3: more than 2 rows")
    );
    assert!(error(",".repeat(500) + "x").contains("more than 400 cells"));
    let limits = Limits {
        bytes: 3,
        ..Limits::default()
    };
    assert!(
        rows_of(b"a\nb\n", &options(limits))
            .unwrap_err()
            .to_string()
            .contains("larger than")
    );
    assert!(error([0xd0, 0xcf, 0x11, 0xe0, 0, 0]).contains("old Excel file"));
}

fn workbook(fill: impl FnOnce(&mut rust_xlsxwriter::Worksheet)) -> Vec<u8> {
    let mut book = Workbook::new();
    fill(book.add_worksheet().set_name("案件").unwrap());
    book.add_worksheet()
        .set_name("other")
        .unwrap()
        .write_string(0, 0, "x")
        .unwrap();
    book.save_to_buffer().unwrap()
}

#[test]
fn a_workbook_reads_as_it_shows() {
    let file = workbook(|sheet| {
        let date = Format::new().set_num_format("yyyy-mm-dd");
        sheet.write_string(0, 0, "案件").unwrap();
        sheet.write_string(0, 2, "日期").unwrap();
        sheet.write_string(3, 0, " C1 ").unwrap();
        sheet.write_number(3, 1, 0.1 + 0.2).unwrap();
        sheet
            .write_number_with_format(3, 2, 46_349.0, &date)
            .unwrap();
        sheet
            .write_number(4, 0, 6_222_021_234_567_890_123.0)
            .unwrap();
        sheet
            .write_formula(4, 1, rust_xlsxwriter::Formula::new("=1+1").set_result("2"))
            .unwrap();
        sheet.write_boolean(4, 2, true).unwrap();
    });
    let read = rows(&file).unwrap();
    assert_eq!(read[0].cells, ["案件", "", "日期"]);
    assert_eq!(
        (read[1].line, &read[1].cells[..]),
        (4, &["C1".to_owned(), "0.3".into(), "2026-11-23".into()][..])
    );
    assert_eq!(read[2].cells, ["", "2", "TRUE"]);
    assert_eq!(read[2].faults[0].0, 0);
    assert!(read[2].faults[0].1.contains("rounded"));
    let other = Options {
        sheet: Some("other".into()),
        ..Options::default()
    };
    assert_eq!(rows_of(&file, &other).unwrap()[0].cells, ["x"]);
    let none = Options {
        sheet: Some("none".into()),
        ..Options::default()
    };
    assert!(
        rows_of(&file, &none)
            .unwrap_err()
            .to_string()
            .contains("no sheet of the name")
    );
}

#[test]
fn a_zip_bomb_is_refused_before_it_fills_the_memory() {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    archive.start_file("xl/sharedStrings.xml", options).unwrap();
    for _ in 0..80 {
        archive
            .write_all(&b"<si><t>0000000000</t></si>\n".repeat(40_000))
            .unwrap();
    }
    let bomb = archive.finish().unwrap().into_inner();
    assert!(bomb.len() < 1 << 20, "{}", bomb.len());
    assert!(
        error(&bomb).contains("too large when it is unpacked"),
        "{}",
        error(&bomb)
    );
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    archive
        .start_file("xl/worksheets/sheet1.xml", options)
        .unwrap();
    archive.write_all(&vec![b'x'; 1 << 20]).unwrap();
    let one_cell = archive.finish().unwrap().into_inner();
    assert!(error(&one_cell).contains("too large when it is unpacked"));
}

#[test]
fn letters_and_columns_belong_together() {
    for (index, name) in [
        (0, "A"),
        (25, "Z"),
        (26, "AA"),
        (51, "AZ"),
        (701, "ZZ"),
        (702, "AAA"),
    ] {
        assert_eq!(letters(index), name);
        assert_eq!(column(name), Some(index));
    }
    for name in ["", "a", "A1", "AAAA", "É"] {
        assert_eq!(column(name), None);
    }
}

#[test]
fn who_stops_listening_stops_the_reader() {
    let file = "a,b\n".repeat(200_000);
    let mut rows = open(&Source::Bytes(file.as_bytes().into()), &Options::default()).unwrap();
    assert!(rows.next().unwrap().is_ok());
    drop(rows);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = rows(&bytes);
    }

    #[test]
    fn a_damaged_workbook_never_hangs_or_passes_for_an_empty_one(at in 0usize..6_000, byte in any::<u8>()) {
        let mut file = workbook(|sheet| { sheet.write_string(0, 0, "x").unwrap(); });
        let at = 4 + at % (file.len() - 4);
        file[at] = byte;
        let _ = rows(&file);
        file.truncate(at);
        prop_assert!(rows(&file).is_err());
    }
}
