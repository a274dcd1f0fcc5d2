//! One table of the config: its settings are read by name and type, and what nobody knows is refused.

use toml::de::{DeTable, DeValue};

use super::problem::Findings;

/// A value and the line it stands on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Located<T> {
    /// The value.
    pub(super) value: T,
    /// Its line, counted from 1.
    pub(super) line: usize,
}

/// What a kind of section may hold.
pub(super) struct Vocabulary {
    /// Its settings.
    pub(super) known: &'static [&'static str],
    /// What people may expect there in vain: name, what is wrong with it, what to do instead.
    pub(super) refused: &'static [(&'static str, &'static str, &'static str)],
}

/// A setting that may be written as one text or as several tables.
pub(super) enum OneOrTables<'t> {
    /// The one text.
    Text(Located<String>),
    /// The tables.
    Tables(Vec<Located<&'t DeTable<'t>>>),
}

/// A table whose settings are being read.
pub(super) struct Section<'t> {
    name: String,
    line: usize,
    table: &'t DeTable<'t>,
    vocabulary: &'static Vocabulary,
    has_unknown: bool,
}

impl<'t> Section<'t> {
    /// Takes a table and notes everything in it that is not in the vocabulary.
    pub(super) fn open(
        name: impl Into<String>,
        table: Located<&'t DeTable<'t>>,
        vocabulary: &'static Vocabulary,
        findings: &mut Findings<'_>,
    ) -> Self {
        let (line, table) = (table.line, table.value);
        let mut section = Self { name: name.into(), line, table, vocabulary, has_unknown: false };
        for key in table.keys() {
            let (key, line) = (key.get_ref().as_ref(), findings.line_of(key.span().start));
            if vocabulary.known.contains(&key) {
                continue;
            }
            section.has_unknown = true;
            match vocabulary.refused.iter().find(|(name, ..)| *name == key) {
                Some((_, problem, advice)) => {
                    findings.add(line, format!("`{key}` in {} {problem}.", section.name), *advice);
                }
                None => {
                    let advice = did_you_mean(key, vocabulary.known.iter().copied());
                    findings.add(line, format!("`{key}` is not known in {}.", section.name), advice);
                }
            }
        }
        section
    }

    /// Says whether a setting that must be there is left out; if something unknown stands there instead, that is the
    /// mistake, and it was noted.
    pub(super) fn lacks(&self, key: &str) -> bool {
        !self.has(key) && !self.has_unknown
    }

    /// Returns the section's name as it stands in the file.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the line the section starts on.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// Says whether a setting is there, of whatever type.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Says whether a setting is a list.
    pub(super) fn is_list(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|value| value.get_ref().as_array().is_some())
    }

    /// Returns the line of a setting that is a list with nothing in it.
    pub(super) fn empty_list(&self, key: &str, findings: &Findings<'_>) -> Option<usize> {
        let value = self.table.get(key)?;
        let is_empty = value.get_ref().as_array().is_some_and(|list| list.is_empty());
        is_empty.then(|| findings.line_of(value.span().start))
    }

    /// Reads a text.
    pub(super) fn text(&self, key: &'static str, findings: &mut Findings<'_>) -> Option<Located<String>> {
        self.read(key, "a text in quotes", findings, |value| value.as_str().map(str::to_owned))
    }

    /// Reads `true` or `false`; false when it is not there.
    pub(super) fn flag(&self, key: &'static str, findings: &mut Findings<'_>) -> bool {
        self.read(key, "`true` or `false`", findings, DeValue::as_bool).is_some_and(|flag| flag.value)
    }

    /// Reads a whole number.
    pub(super) fn number(&self, key: &'static str, findings: &mut Findings<'_>) -> Option<Located<i64>> {
        self.read(key, "a whole number", findings, |value| {
            let integer = value.as_integer()?;
            i64::from_str_radix(integer.as_str(), integer.radix()).ok()
        })
    }

    /// Reads a list of texts; empty when it is not there.
    pub(super) fn texts(&self, key: &'static str, findings: &mut Findings<'_>) -> Vec<Located<String>> {
        let wanted = "a list of texts, as in `[\"a\", \"b\"]`";
        let Some(items) = self.read(key, wanted, findings, |value| value.as_array().map(|array| array.iter())) else {
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in items.value {
            let line = findings.line_of(item.span().start);
            match item.get_ref().as_str() {
                Some(text) => texts.push(Located { value: text.to_owned(), line }),
                None => self.wrong_type(key, wanted, item.get_ref(), line, findings),
            }
        }
        texts
    }

    /// Reads a text, or a list of texts in its place.
    pub(super) fn text_or_texts(&self, key: &'static str, findings: &mut Findings<'_>) -> Option<Vec<Located<String>>> {
        match self.table.get(key)?.get_ref() {
            DeValue::Array(_) => Some(self.texts(key, findings)),
            _ => self.text(key, findings).map(|text| vec![text]),
        }
    }

    /// Reads a text, or a list of tables in its place.
    pub(super) fn text_or_tables(&self, key: &'static str, findings: &mut Findings<'_>) -> Option<OneOrTables<'t>> {
        let wanted = "a text in quotes, or a list of tables, as in `[{ name = value }]`";
        let value = self.read(key, wanted, findings, |value| {
            (value.as_str().is_some() || value.as_array().is_some()).then_some(value)
        })?;
        let Some(items) = value.value.as_array() else {
            return value
                .value
                .as_str()
                .map(|text| OneOrTables::Text(Located { value: text.to_owned(), line: value.line }));
        };
        let mut tables = Vec::new();
        for item in items.iter() {
            let line = findings.line_of(item.span().start);
            match item.get_ref().as_table() {
                Some(table) => tables.push(Located { value: table, line }),
                None => self.wrong_type(key, wanted, item.get_ref(), line, findings),
            }
        }
        Some(OneOrTables::Tables(tables))
    }

    /// Reads a table inside this one.
    pub(super) fn table(&self, key: &'static str, findings: &mut Findings<'_>) -> Option<Located<&'t DeTable<'t>>> {
        self.read(key, "a table, as in `{ name = value }`", findings, DeValue::as_table)
    }

    /// Reads a table where something else could stand as well: all of what is `wanted`.
    pub(super) fn table_as(
        &self,
        key: &'static str,
        wanted: &str,
        findings: &mut Findings<'_>,
    ) -> Option<Located<&'t DeTable<'t>>> {
        self.read(key, wanted, findings, DeValue::as_table)
    }

    /// Reads the tables inside the table `key`, each with its name and line: `[key.NAME]`.
    pub(super) fn named_tables(
        &self,
        key: &'static str,
        findings: &mut Findings<'_>,
    ) -> Vec<(Located<String>, Located<&'t DeTable<'t>>)> {
        let wanted = format!("a table for each name, as in `[{key}.NAME]`");
        let Some(all) = self.read(key, &wanted, findings, DeValue::as_table) else { return Vec::new() };
        let mut tables = Vec::new();
        for (name, value) in all.value {
            let line = findings.line_of(name.span().start);
            match value.get_ref().as_table() {
                Some(table) => {
                    let name = Located { value: name.get_ref().clone().into_owned(), line };
                    tables.push((name, Located { value: table, line }));
                }
                None => self.wrong_type(key, &wanted, value.get_ref(), line, findings),
            }
        }
        tables
    }

    fn read<T>(
        &self,
        key: &'static str,
        wanted: &str,
        findings: &mut Findings<'_>,
        convert: impl FnOnce(&'t DeValue<'t>) -> Option<T>,
    ) -> Option<Located<T>> {
        assert!(self.vocabulary.known.contains(&key), "a setting that is read is in the section's list of known ones");
        let value = self.table.get(key)?;
        let line = findings.line_of(value.span().start);
        match convert(value.get_ref()) {
            Some(value) => Some(Located { value, line }),
            None => {
                self.wrong_type(key, wanted, value.get_ref(), line, findings);
                None
            }
        }
    }

    fn wrong_type(&self, key: &str, wanted: &str, found: &DeValue<'_>, line: usize, findings: &mut Findings<'_>) {
        let found = match found {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "`true` or `false`",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        findings.add(line, format!("`{key}` in {} is {found}.", self.name), format!("It must be {wanted}."));
    }
}

/// Suggests the known word that is nearest to a wrong one, or lists them all.
#[must_use]
pub fn did_you_mean<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    let nearest = known.iter().map(|word| (distance(wrong, word), *word)).min();
    match nearest {
        // One slip in every three letters is still a slip; more is another word.
        Some((edits, word)) if edits <= 1 + word.chars().count() / 3 => format!("Did you mean `{word}`?"),
        Some(_) => {
            let list: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
            format!("Known here: {}.", list.join(", "))
        }
        None => "Remove it.".to_owned(),
    }
}

/// Counts the letters to insert, remove or replace to turn one word into the other; `_` and `-` are the same.
fn distance(a: &str, b: &str) -> usize {
    let fold = |text: &str| -> Vec<char> { text.to_lowercase().replace('_', "-").chars().take(64).collect() };
    let (a, b) = (fold(a), fold(b));
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_named_and_another_word_gets_the_list() {
        let known = ["sources", "exclude", "exclude-caches"];
        assert_eq!(did_you_mean("sorces", known.into_iter()), "Did you mean `sources`?");
        assert_eq!(did_you_mean("exclude_caches", known.into_iter()), "Did you mean `exclude-caches`?");
        assert_eq!(did_you_mean("frequency", known.into_iter()), "Known here: `sources`, `exclude`, `exclude-caches`.");
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
