//! What a mistyped name may have meant.

/// The end of a message about a name that does not exist: the nearest one, if any is near, and all of them.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    let best = known.iter().map(|known| (strsim::osa_distance(name, known), known)).min();
    // A slip of the finger in three letters; with more, a guess would only confuse.
    let guess = best.filter(|(slips, _)| *slips <= (name.chars().count() / 3).max(1));
    let guess = guess.map(|(_, best)| format!("; did you mean {best:?}?")).unwrap_or_default();
    format!("{guess} (there are: {})", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near_is_guessed() {
        let known = ["backing", "ratio", "mmu"];
        for (slip, meant) in [("ration", "ratio"), ("mum", "mmu"), ("bakcing", "backing")] {
            let said = nearest(slip, known.into_iter());
            assert!(said.contains(&format!("did you mean {meant:?}?")), "{said}");
        }
        let far = nearest("xyz", known.into_iter());
        assert!(!far.contains("did you mean") && far.contains("backing, ratio, mmu"), "{far}");
    }
}
