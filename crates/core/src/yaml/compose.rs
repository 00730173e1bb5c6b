//! From the events of a YAML text to one untyped value.
//!
//! Two readers of one file must not differ: `PyYAML` reads YAML 1.1, most others read 1.2. So a plain
//! scalar is a boolean, null or number only where both versions agree and the value is written
//! again as the same text. Everything else (`y`, `no`, `0123`, `1e3`, `1_000`, `0x1F`, `1.10`, a date)
//! stays the text that the user wrote. Errors have a place and never a scalar, which could be a
//! password.

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::{Map, Value};

use super::Error;

/// Deepest nesting of maps and lists.
const MAX_DEPTH: usize = 128;
/// What aliases may add to a document, in bytes of text and one for each node.
const MAX_REPLAYED: usize = 16 << 20;
/// The key whose value is merged into its map.
const MERGE: &str = "<<";

/// What to do about a key that occurs twice in one map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DuplicateKeys {
    /// Refuse the document.
    Refuse,
    /// Take the last one.
    LastWins,
}

/// Reads the one document of a text; empty documents before or after it are ignored.
pub(super) fn compose(text: &str, duplicates: DuplicateKeys) -> Result<Value, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    let events = Parser::new_from_str(text);
    let mut composer =
        Composer { events, duplicates, is_json, anchors: HashMap::new(), replayed: 0 };
    let mut found = None;
    while composer.next_document()? {
        match composer.node(0)? {
            Value::Null => {}
            _ if found.is_some() => return Err(Error::SeveralDocuments),
            document => found = Some(document),
        }
    }
    Ok(found.unwrap_or_default())
}

struct Composer<'t> {
    events: Parser<'t, StrInput<'t>>,
    duplicates: DuplicateKeys,
    /// True when the whole text is JSON, whose numbers have one meaning only.
    is_json: bool,
    anchors: HashMap<usize, Value>,
    /// What aliases have added so far.
    replayed: usize,
}

/// A key that may be a merge key, if it is not quoted.
struct Key {
    text: String,
    is_merge: bool,
}

impl<'t> Composer<'t> {
    /// The next event that is data.
    fn next(&mut self) -> Result<(Event<'t>, Span), Error> {
        loop {
            let Some(event) = self.events.next() else {
                return Err(Error::Syntax("the text ends too early".to_owned()));
            };
            let (event, span) = event.map_err(|error| {
                let marker = error.marker();
                // The kinds of errors are fixed sentences without any of the text.
                at(&error.kind().to_string(), marker.line(), marker.col())
            })?;
            if is_data(&event) {
                return Ok((event, span));
            }
        }
    }

    /// Goes to the content of the next document; false at the end of the text.
    fn next_document(&mut self) -> Result<bool, Error> {
        loop {
            match self.next()?.0 {
                Event::DocumentStart(..) => return Ok(true),
                Event::StreamEnd => return Ok(false),
                _ => {}
            }
        }
    }

    fn node(&mut self, depth: usize) -> Result<Value, Error> {
        let (event, span) = self.next()?;
        self.node_of(event, span, depth)
    }

    fn node_of(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Value, Error> {
        if depth > MAX_DEPTH {
            return Err(error("maps and lists are nested too deeply", span));
        }
        let (value, anchor) = match event {
            Event::Alias(id) => return self.alias(id, span),
            Event::Scalar(text, style, anchor, tag) => {
                (self.scalar(&text, style, tag.as_deref(), span)?, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                refuse_tag_but("seq", tag.as_deref(), span)?;
                (self.sequence(depth)?, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                refuse_tag_but("map", tag.as_deref(), span)?;
                (self.mapping(depth)?, anchor)
            }
            _ => return Err(error("a value is missing", span)),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<Value, Error> {
        let Some(value) = self.anchors.get(&id) else {
            return Err(error("an alias is inside the node that it refers to", span));
        };
        self.replayed = self.replayed.saturating_add(size(value));
        if self.replayed > MAX_REPLAYED {
            return Err(error("aliases make the document too large", span));
        }
        Ok(value.clone())
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, Error> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::Array(items)),
                (event, span) => items.push(self.node_of(event, span, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, Error> {
        let (mut map, mut merged) = (Map::new(), Map::new());
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key = self.key(event, span)?;
            let value = self.node(depth + 1)?;
            if key.is_merge {
                merge(&mut merged, value).map_err(|message| error(message, span))?;
            } else if map.insert(key.text.clone(), value).is_some()
                && self.duplicates == DuplicateKeys::Refuse
            {
                return Err(error(&format!("the key {:?} stands twice", key.text), span));
            }
        }
        // What the map says itself wins over what it takes from another.
        for (key, value) in merged {
            map.entry(key).or_insert(value);
        }
        Ok(Value::Object(map))
    }

    /// Keys are the text that was written: `on` and `1` are no boolean and no number there.
    fn key(&mut self, event: Event<'t>, span: Span) -> Result<Key, Error> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                refuse_tag_but("str", tag.as_deref(), span)?;
                let text = text.into_owned();
                if anchor != 0 {
                    self.anchors.insert(anchor, Value::String(text.clone()));
                }
                let is_merge = text == MERGE && style == ScalarStyle::Plain && tag.is_none();
                Ok(Key { text, is_merge })
            }
            Event::Alias(id) => match self.alias(id, span)? {
                Value::String(text) => Ok(Key { text, is_merge: false }),
                _ => Err(error("a key must be a text", span)),
            },
            _ => Err(error("a key must be a text; quote it if it begins with { or [", span)),
        }
    }

    fn scalar(
        &self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        span: Span,
    ) -> Result<Value, Error> {
        match tag {
            None if style == ScalarStyle::Plain => Ok(self.plain(text)),
            None => Ok(Value::String(text.to_owned())),
            Some(tag) => tagged(text, tag).map_err(|message| error(message, span)),
        }
    }

    fn plain(&self, text: &str) -> Value {
        let json = || serde_json::from_str(text).ok().filter(|_| self.is_json);
        json().unwrap_or_else(|| resolve(text))
    }
}

/// False for comments and whatever else only describes how the text looks.
fn is_data(event: &Event<'_>) -> bool {
    matches!(
        event,
        Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd
            | Event::Alias(_)
            | Event::Scalar(..)
            | Event::SequenceStart(..)
            | Event::SequenceEnd
            | Event::MappingStart(..)
            | Event::MappingEnd
    )
}

/// The value of a plain scalar, where YAML 1.1 and 1.2 agree on it.
fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => true.into(),
        "false" | "False" | "FALSE" => false.into(),
        _ => number(text).unwrap_or_else(|| Value::String(text.to_owned())),
    }
}

/// A number that is written as it was read: digits, with a fraction or without.
fn number(text: &str) -> Option<Value> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let number: serde_json::Number = serde_json::from_str(text).ok()?;
    (number.to_string() == text).then_some(Value::Number(number))
}

/// The value of a scalar whose type the author wrote in front of it.
fn tagged(text: &str, tag: &Tag) -> Result<Value, &'static str> {
    const MISFIT: &str = "the value is not of the type that its tag names";
    match tag_type(tag)?.as_ref() {
        "str" => Ok(Value::String(text.to_owned())),
        "null" => Some(resolve(text)).filter(Value::is_null).ok_or(MISFIT),
        "bool" => Some(resolve(text)).filter(Value::is_boolean).ok_or(MISFIT),
        "int" => number(text).filter(|number| !number.is_f64()).ok_or(MISFIT),
        "float" => {
            let number = text.parse().ok().and_then(serde_json::Number::from_f64);
            number.map(Value::Number).ok_or(MISFIT)
        }
        _ => Err(UNKNOWN_TAG),
    }
}

const UNKNOWN_TAG: &str =
    "this tag is not supported; quote a text that begins with an exclamation mark";

/// The name of a tag of YAML's own; a lone `!` makes a text.
fn tag_type(tag: &Tag) -> Result<Cow<'_, str>, &'static str> {
    match tag.core_suffix() {
        Some(name) => Ok(name.into()),
        None if tag.handle().is_empty() && tag.suffix() == "!" => Ok("str".into()),
        None if tag.handle() == "!" && tag.suffix().is_empty() => Ok("str".into()),
        None => Err(UNKNOWN_TAG),
    }
}

fn refuse_tag_but(expected: &str, tag: Option<&Tag>, span: Span) -> Result<(), Error> {
    match tag.map(tag_type) {
        None => Ok(()),
        Some(Ok(name)) if name == expected => Ok(()),
        Some(_) => Err(error(UNKNOWN_TAG, span)),
    }
}

/// Takes over the keys of a map, or of each map of a list; the first that has a key wins.
fn merge(into: &mut Map<String, Value>, value: Value) -> Result<(), &'static str> {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                into.entry(key).or_insert(value);
            }
            Ok(())
        }
        Value::Array(maps) if maps.iter().all(Value::is_object) => {
            maps.into_iter().try_for_each(|map| merge(into, map))
        }
        _ => Err("a merge key (<<) takes a map or a list of maps"),
    }
}

/// What a value costs, for the limit on aliases.
fn size(value: &Value) -> usize {
    1 + match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(map) => map.iter().map(|(key, value)| key.len() + size(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

fn error(message: &str, span: Span) -> Error {
    at(message, span.start.line(), span.start.col())
}

/// Lines count from 1 as the parser has them, columns from 0.
fn at(message: &str, line: usize, column: usize) -> Error {
    Error::Syntax(format!("{message} (line {line}, column {})", column + 1))
}
