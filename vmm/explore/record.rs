//! What the program in the guest prints: records, a line each (guest-kernel/programs/explore/record.rs).

use super::ExploreError;

/// A record: its kind, and values by name.
#[derive(Clone, Debug)]
pub struct Record {
    command: String,
    kind: String,
    fields: Vec<(String, String)>,
}

impl Record {
    /// All that `command` printed.
    pub fn parse(command: &str, text: &str) -> Vec<Self> {
        text.lines().map(|line| Self::of(command, line)).collect()
    }

    fn of(command: &str, line: &str) -> Self {
        let mut words = line.split('\t');
        let kind = words.next().unwrap_or_default().to_owned();
        let named = words.filter_map(|word| word.split_once('='));
        let fields = named.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { command: command.to_owned(), kind, fields }
    }

    /// What it is about.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// A value as it was printed.
    pub fn text(&self, name: &str) -> Result<&str, ExploreError> {
        let field = self.fields.iter().find(|(known, _)| known == name);
        field.map(|(_, value)| value.as_str()).ok_or_else(|| self.lacks(name))
    }

    /// A value that is a number.
    pub fn number(&self, name: &str) -> Result<u64, ExploreError> {
        self.text(name)?.parse().map_err(|_| self.lacks(name))
    }

    /// Whether a value is `true`.
    pub fn says(&self, name: &str) -> Result<bool, ExploreError> {
        self.text(name)?.parse().map_err(|_| self.lacks(name))
    }

    fn lacks(&self, name: &str) -> ExploreError {
        ExploreError::Missing { command: self.command.clone(), what: format!("{name} of {}", self.kind) }
    }
}

#[cfg(test)]
mod tests {
    use super::Record;

    #[test]
    fn values_are_found_by_name_and_what_is_not_there_is_named() {
        let records = Record::parse("explore x", "fork\tname=two words\tcopied=12\tintact=true\n");
        let [record] = records.as_slice() else { panic!("one line, one record") };
        assert_eq!((record.kind(), record.text("name").unwrap()), ("fork", "two words"));
        assert_eq!(record.number("copied").unwrap(), 12);
        assert!(record.says("intact").unwrap());
        for lacking in [record.number("name").err(), record.number("shared").err()] {
            let text = lacking.expect("no number").to_string();
            assert!(text.starts_with("explore x: its output lacks "), "{text}");
        }
    }
}
