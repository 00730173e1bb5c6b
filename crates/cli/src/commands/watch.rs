//! `--watch` of `ompipe list` and `ompipe status`: prints what there is, and then each row that changes.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use ompipe_client::{K8sPipelineClient, PipelineFilter};
use serde::Serialize;
use serde_json::Value;
use tokio::time::sleep;

use crate::args::Output;
use crate::failure::{Exit, Failure};
use crate::output::{self, Painted};

/// After a change, how long others are waited for that come with it.
const CALM: Duration = Duration::from_millis(500);

/// How rows are shown.
pub(super) struct Rows<'r, T> {
    /// Which row it is, in every look.
    pub(super) key: fn(&T) -> String,
    /// What `--output name` prints.
    pub(super) name: fn(&T) -> String,
    /// A line for each row, below a header.
    pub(super) table: &'r dyn Fn(&[T]) -> Painted,
}

/// Looks, prints what is new or different, and looks again when something has happened. Ends when the
/// user interrupts it, the reader goes away, or a look fails.
pub(super) async fn watch<T: Serialize>(
    output: Output,
    client: &K8sPipelineClient,
    filter: &PipelineFilter,
    rows: &Rows<'_, T>,
    look: impl AsyncFn() -> Result<Vec<T>, Failure>,
) -> Result<Exit, Failure> {
    let mut moments = std::pin::pin!(client.moments(filter));
    let mut seen = Seen::default();
    loop {
        let found = look().await?;
        let news = seen.news(&found, rows.key)?;
        if !show(output, rows, &found, &news)? {
            return Ok(Exit::Success);
        }
        moments.next().await;
        sleep(CALM).await;
        while moments.next().now_or_never().is_some() {}
    }
}

/// What changed in a look.
struct News {
    /// For each row, whether it is to be printed.
    rows: Vec<bool>,
    is_first: bool,
    /// Keys of rows that are gone.
    gone: Vec<String>,
}

/// What was printed of each row.
#[derive(Default)]
struct Seen {
    rows: BTreeMap<String, Value>,
    has_printed: bool,
}

impl Seen {
    fn news<T: Serialize>(&mut self, found: &[T], key: fn(&T) -> String) -> Result<News, Failure> {
        let mut now = BTreeMap::new();
        let mut rows = Vec::new();
        for row in found {
            let (key, value) = (key(row), serde_json::to_value(row).map_err(std::io::Error::from)?);
            rows.push(self.rows.get(&key) != Some(&value));
            now.insert(key, value);
        }
        let gone = self.rows.keys().filter(|key| !now.contains_key(*key)).cloned().collect();
        self.rows = now;
        let is_first = !self.has_printed && rows.contains(&true);
        self.has_printed |= is_first;
        Ok(News { rows, is_first, gone })
    }
}

/// Prints the rows that are new or different; false when nobody reads them any more.
fn show<T: Serialize>(
    output: Output,
    rows: &Rows<'_, T>,
    found: &[T],
    news: &News,
) -> Result<bool, Failure> {
    for key in &news.gone {
        output::note(format_args!("{key} is gone"));
    }
    if !news.rows.contains(&true) {
        return Ok(true);
    }
    let is_new = |row: usize| news.rows.get(row) == Some(&true);
    if !output.is_structured() && output != Output::Name {
        return (rows.table)(found).of_rows(news.is_first, is_new).print_to_reader();
    }
    for (_, row) in (0..).zip(found).filter(|(row, _)| is_new(*row)) {
        let text = match output {
            Output::Name => Painted::plain(&(rows.name)(row)),
            Output::Yaml => {
                [Painted::plain("---\n"), output::structured(output, row)?].into_iter().collect()
            }
            Output::Json | Output::Table | Output::Wide => output::structured(output, row)?,
        };
        if !text.print_to_reader()? {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn name(row: &Value) -> String {
        row["name"].as_str().unwrap_or_default().to_owned()
    }

    #[test]
    fn a_row_is_news_when_it_is_new_or_different() {
        let mut seen = Seen::default();
        let nothing = seen.news::<Value>(&[], name).unwrap();
        assert!(!nothing.is_first && nothing.rows.is_empty());
        let (a, b) = (json!({ "name": "a", "state": 1 }), json!({ "name": "b", "state": 1 }));
        let first = seen.news(&[a.clone(), b.clone()], name).unwrap();
        assert!(first.is_first && first.rows == [true, true]);
        let same = seen.news(&[a.clone(), b.clone()], name).unwrap();
        assert!(!same.is_first && same.rows == [false, false]);
        let other = seen.news(&[json!({ "name": "a", "state": 2 })], name).unwrap();
        assert_eq!((other.rows, other.gone), (vec![true], vec!["b".to_owned()]));
    }
}
