//! `kill -9` in the middle of `ringfence cases import`: nothing of an undecided import is ever seen and the next one sweeps
//! it; what was decided is carried out to its end.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use ringfence::{
    ids::CaseId,
    store::{Db, Location, Options, cases, imports},
};

const ROWS: u32 = 3_000;

struct House {
    dir: tempfile::TempDir,
    db: Db,
}

impl House {
    async fn build() -> House {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let config = format!(
            "[store]\nurl = \"sqlite:{at}/floor.db\"\n[vault]\ndir = \"{at}/vault\"\nkeys_dir = \"{at}/keys\"\nroot_key = \"{at}/root\"\n"
        );
        fs::write(dir.path().join("ringfence.toml"), config).unwrap();
        let db = Db::open(&Options::new(Location::Sqlite(dir.path().join("floor.db"))))
            .await
            .unwrap();
        House { dir, db }
    }

    fn file(&self, name: &str, text: String) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn import(&self, file: &Path, rest: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_ringfence"))
            .arg("--config")
            .arg(self.dir.path().join("ringfence.toml"))
            .args(["cases", "import"])
            .arg(file)
            .args(["--client", "bank", "--new-client", "Bank"])
            .args(rest)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    async fn newest(&self) -> Option<imports::Line> {
        let mut tx = self.db.read().await.unwrap();
        imports::list(&mut tx, 1).await.unwrap().into_iter().next()
    }

    async fn seen(&self) -> usize {
        let mut tx = self.db.read().await.unwrap();
        cases::list(&mut tx, CaseId::new(0), 100_000)
            .await
            .unwrap()
            .len()
    }

    /// Ends the child by SIGKILL as soon as its import, of this number, is so far; says whether it came to that.
    async fn kill_when(
        &self,
        mut child: Child,
        id: i64,
        far: impl Fn(&imports::Line) -> bool,
    ) -> bool {
        loop {
            if self
                .newest()
                .await
                .is_some_and(|line| line.id == id && far(&line))
            {
                child.kill().unwrap();
                return !child.wait().unwrap().success();
            }
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(
                self.seen().await == 0 || id > 3,
                "an undecided import is seen"
            );
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_half_done_after_a_kill() {
    let house = House::build().await;
    let mut text = "case,debtor,name,relation,number\n".to_owned();
    let mut news = "case,balance\n".to_owned();
    for n in 0..ROWS {
        text.push_str(&format!("C{n},D{n},N,debtor,138{:08}\n", n + 20_000_000));
        news.push_str(&format!("C{n},{}\n", n + 1));
    }
    let (text, news) = (house.file("cases.csv", text), house.file("news.csv", news));
    // Early and late.
    for (id, far) in [(1, 1), (2, 1_000)] {
        let child = house.import(&text, &["--batch", "B1"]);
        assert!(
            house
                .kill_when(child, id, |line| line.counts.read >= far)
                .await,
            "it was over too soon"
        );
        assert_eq!(house.seen().await, 0);
    }
    assert!(
        house
            .import(&text, &["--batch", "B1"])
            .wait()
            .unwrap()
            .success()
    );
    assert_eq!(house.seen().await, ROWS as usize);
    // Decided, and killed while it is carried out.
    let child = house.import(&news, &["--kind", "updates"]);
    let killed = house
        .kill_when(child, 4, |line| line.state == imports::State::Applying)
        .await;
    let left = house.newest().await.unwrap();
    assert!(
        !killed || left.state == imports::State::Applying,
        "{left:?}"
    );
    // The next import carries it out first.
    assert!(
        house
            .import(&news, &["--kind", "updates"])
            .wait()
            .unwrap()
            .success()
    );
    let mut tx = house.db.read().await.unwrap();
    let lines = imports::list(&mut tx, 9).await.unwrap();
    let states: Vec<_> = lines.iter().rev().map(|line| line.state.as_str()).collect();
    assert_eq!(states, ["broken_off", "broken_off", "done", "done", "done"]);
    assert_eq!(
        lines[0].counts.same,
        u64::from(ROWS),
        "what was decided is not all there"
    );
}
