//! What else happens in the year: bars, settlements, and numbers that are good again.

use super::*;

impl World {
    pub(super) async fn bar_or_settle(&mut self) {
        let index = self.dice.index(self.points.len());
        let (id, case, number) = self.points[index];
        let known = self.book.points[index].clone();
        let until = self.now_ms + self.dice.below(10 * DAY);
        let book = self.book.barred.len();
        let mut tx = self.db.begin().await.unwrap();
        let target = contact_points::target(&mut tx, id).await.unwrap().unwrap();
        let (subject, barred) = match self.dice.below(8) {
            0..=1 => (Subject::Number(known.number), Barred::Number(number)),
            2 => (
                Subject::Person(known.persons[0]),
                Barred::Person(target.person),
            ),
            3 => (Subject::Case(known.case), Barred::Case(case)),
            4 if self.dice.below(4) == 0 => {
                (Subject::Client(known.client), Barred::Client(target.client))
            }
            5 if self.dice.below(8) == 0 => (Subject::Everything, Barred::Everything),
            6 if !known.third_party => {
                let by = Lifting {
                    actor: "lin",
                    why: "called back",
                    now_ms: self.now_ms,
                };
                let lifted = number_faults::lift(&mut tx, id, i64::MAX, &by)
                    .await
                    .unwrap();
                tx.commit().await.unwrap();
                let mut expected = 0;
                for fault in &mut self.book.faults {
                    let whose = fault.debtor.is_none_or(|debtor| debtor == known.debtor);
                    if fault.number == known.number && whose && fault.until == i64::MAX {
                        fault.until = self.now_ms;
                        expected += 1;
                    }
                }
                assert_eq!(lifted, expected);
                return;
            }
            _ => {
                if target.case_state != CaseState::Open {
                    return;
                }
                cases::set_state(&mut tx, case, CaseState::Settled, self.now_ms)
                    .await
                    .unwrap();
                tx.commit().await.unwrap();
                self.later.push(Reverse((until, Later::Reopen(case, book))));
                self.note(Subject::Case(known.case));
                return;
            }
        };
        let new = NewBar {
            subject: barred,
            client: None,
            kind: BarKind::DoNotCall,
            reason: "asked",
            from_ms: self.now_ms,
            until_ms: None,
            actor: "lin",
        };
        let (bar, is_new) = bars::bar(&mut tx, &new).await.unwrap();
        tx.commit().await.unwrap();
        if is_new {
            self.later.push(Reverse((until, Later::Lift(bar, book))));
            self.note(subject);
        }
    }

    fn note(&mut self, subject: Subject) {
        self.book.barred.push(checker::Barred {
            subject,
            from: self.now_ms,
            until: i64::MAX,
        });
    }
}
