//! Which of several words was meant.

/// The candidate with the fewest letters to change; of equals the first. There is one at least.
pub fn nearest(word: &str, candidates: impl Iterator<Item = &'static str>) -> &'static str {
    candidates.min_by_key(|candidate| distance(word, candidate)).unwrap_or_default()
}

/// How many letters have to be added, taken out or changed (Levenshtein), by dynamic programming over one
/// row.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (number, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], number + 1);
        for (column, wanted) in other.chars().enumerate() {
            let changed = diagonal + usize::from(letter != wanted);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.chars().count()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewest_changes_win() {
        let words = || ["cow", "swap", "page-tables"].into_iter();
        for (typed, meant) in [("cwo", "cow"), ("swpa", "swap"), ("pagetables", "page-tables"), ("", "cow")] {
            assert_eq!(nearest(typed, words()), meant, "{typed}");
        }
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
