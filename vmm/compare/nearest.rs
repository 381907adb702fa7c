//! What a mistyped name may have meant.

/// Fewer letters in common than this, from 0 to 1, and a guess would only confuse.
const ALIKE: f64 = 0.7;

/// The end of a message about a name that does not exist: the nearest one, if any is near, and all of them.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    let alike = |one: &&&str| strsim::jaro_winkler(name, one);
    let best = known.iter().max_by(|one, other| alike(one).total_cmp(&alike(other)));
    let guess = best.filter(|best| alike(best) >= ALIKE).map(|best| format!("; did you mean {best:?}?"));
    format!("{} (there are: {})", guess.unwrap_or_default(), known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near_is_guessed() {
        let known = ["backing", "ratio", "mmu"];
        assert!(nearest("ration", known.into_iter()).contains("did you mean \"ratio\"?"));
        let far = nearest("xyz", known.into_iter());
        assert!(!far.contains("did you mean") && far.contains("backing, ratio, mmu"), "{far}");
    }
}
