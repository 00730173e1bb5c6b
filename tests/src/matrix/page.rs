//! The page that tells what was found.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use super::found::Found;
use super::rows::{GROUPS, Group, Mode, ROWS, Row};

/// Everything between the generated tables.
const HEAD: &str = include_str!("head.md");

/// Cells that no page can be made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// [`ROWS`] promises a cell, and no test found anything there.
    Missing(&'static str, Mode),
    /// A test found something in a cell that [`ROWS`] does not know, or calls untried.
    Unknown(String, Mode),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(row, mode) => {
                write!(f, "no test found anything for {row:?} in mode {:?}", mode.title())
            }
            Self::Unknown(row, mode) => {
                write!(f, "{row:?} in mode {:?} is no cell that is tried", mode.title())
            }
        }
    }
}

/// The page of what was found.
#[derive(Debug)]
pub struct Page<'f> {
    found: &'f [Found],
}

impl<'f> Page<'f> {
    /// The page, if every cell that should be there is, and no other.
    ///
    /// # Errors
    /// What is missing or too much.
    pub fn of(found: &'f [Found]) -> Result<Self, Vec<Wrong>> {
        let page = Self { found };
        let promised = ROWS.iter().flat_map(|row| Mode::ALL.map(|mode| (row, mode)));
        let missing = promised
            .filter(|(row, mode)| row.untried(*mode).is_none() && page.cell(row, *mode).is_none())
            .map(|(row, mode)| Wrong::Missing(row.name, mode));
        let unknown = found.iter().filter(|cell| !is_tried(&cell.row, cell.mode));
        let unknown = unknown.map(|cell| Wrong::Unknown(cell.row.clone(), cell.mode));
        let wrong: Vec<_> = missing.chain(unknown).collect();
        if wrong.is_empty() { Ok(page) } else { Err(wrong) }
    }

    fn cell(&self, row: &Row, mode: Mode) -> Option<&'f Found> {
        self.found.iter().find(|found| found.row == row.name && found.mode == mode)
    }

    fn group(&self, f: &mut fmt::Formatter<'_>, group: Group) -> fmt::Result {
        writeln!(f, "\n## {}\n", group.title())?;
        let titles = Mode::ALL.map(Mode::title).join(" | ");
        writeln!(f, "| | {titles} | Shown by |\n|---|---|---|---|---|---|")?;
        ROWS.iter().filter(|row| row.group == group).try_for_each(|row| self.row(f, row))
    }

    fn row(&self, f: &mut fmt::Formatter<'_>, row: &Row) -> fmt::Result {
        let cells = Mode::ALL.map(|mode| match (row.untried(mode), self.cell(row, mode)) {
            (Some(why), _) => why.to_string(),
            (None, Some(found)) => found.to_string(),
            // Only before the page is checked.
            (None, None) => String::new(),
        });
        let tests = Mode::ALL.iter().filter_map(|mode| self.cell(row, *mode));
        let tests: BTreeSet<_> = tests.map(|found| format!("`{}`", found.test)).collect();
        let tests = tests.into_iter().collect::<Vec<_>>().join(", ");
        writeln!(f, "| **{}** | {} | {tests} |", row.name, cells.join(" | "))
    }
}

fn is_tried(name: &str, mode: Mode) -> bool {
    ROWS.iter().any(|row| row.name == name && row.untried(mode).is_none())
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEAD)?;
        GROUPS.iter().try_for_each(|group| self.group(f, *group))
    }
}

/// What stands and why · who wrote it · when.
impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.stands())?;
        if let Some(who) = &self.by {
            write!(f, " · {who}")?;
        }
        if let Some(seconds) = self.seconds {
            write!(f, " · {seconds:.1} s")?;
        }
        Ok(())
    }
}

impl Found {
    /// What stands, and why: what is the same in every run of the tests.
    fn stands(&self) -> String {
        let mut text =
            self.state.map_or_else(|| "**no end**".to_owned(), |state| state.to_string());
        if let Some(reason) = &self.reason {
            // Writing to a string cannot fail.
            let _ = write!(text, " `{reason}`");
        }
        text
    }
}

/// Cells whose page says another state or reason than was found now, or nothing at all.
#[must_use]
pub fn disagreements(page: &str, found: &[Found]) -> Vec<String> {
    let wrong = |cell: &&Found| {
        let start = format!("| **{}** |", cell.row);
        let line = page.lines().find(|line| line.starts_with(&start)).unwrap_or_default();
        let mut cells = line.split(" | ").skip(1);
        let told = cells.nth(cell.mode as usize).unwrap_or_default();
        let told = told.split(" · ").next().unwrap_or_default();
        told != cell.stands()
    };
    let wrong = found.iter().filter(wrong);
    wrong.map(|cell| format!("{} in {:?}: found {cell}", cell.row, cell.mode.title())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standin::PipelineState;

    fn found(row: &str, mode: Mode) -> Found {
        Found {
            row: row.to_owned(),
            mode,
            test: "matrix::ends::some".to_owned(),
            state: Some(PipelineState::Failed),
            reason: Some("Error".to_owned()),
            by: Some("operator".to_owned()),
            seconds: Some(1.25),
        }
    }

    fn everything() -> Vec<Found> {
        let cells = ROWS.iter().flat_map(|row| Mode::ALL.map(|mode| (row, mode)));
        let tried = cells.filter(|(row, mode)| row.untried(*mode).is_none());
        tried.map(|(row, mode)| found(row.name, mode)).collect()
    }

    #[test]
    fn every_row_has_every_cell() {
        let all = everything();
        let page = Page::of(&all).unwrap().to_string();
        for row in ROWS {
            let line = page.lines().find(|line| line.starts_with(&format!("| **{}** |", row.name)));
            assert_eq!(line.unwrap().split(" | ").count(), 6, "{line:?}");
        }
        assert!(page.contains("| failed `Error` · operator · 1.2 s |"), "{page}");
        assert_eq!(disagreements(&page, &all), Vec::<String>::new());
    }

    #[test]
    fn a_cell_that_is_missing_is_no_page() {
        let mut all = everything();
        let lost = all.remove(3);
        let wrong = Page::of(&all).unwrap_err();
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].to_string().contains(&lost.row), "{}", wrong[0]);
    }

    #[test]
    fn a_cell_that_nobody_promised_is_no_page() {
        let mut all = everything();
        all.push(found("of nobody", Mode::Operator));
        let wrong = Page::of(&all).unwrap_err();
        assert_eq!(wrong, [Wrong::Unknown("of nobody".to_owned(), Mode::Operator)]);
    }

    #[test]
    fn another_state_disagrees_with_the_page_and_another_time_does_not() {
        let mut all = everything();
        let page = Page::of(&all).unwrap().to_string();
        all[0].seconds = Some(9.0);
        assert!(disagreements(&page, &all).is_empty());
        all[0].state = Some(PipelineState::Success);
        assert_eq!(disagreements(&page, &all).len(), 1);
    }
}
