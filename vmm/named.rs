//! Choices that a user makes by name.

/// The one of `all` that has this name.
///
/// # Errors
/// None has; the message lists them.
pub fn by_name<T: Copy, const N: usize>(
    all: [T; N],
    name: fn(T) -> &'static str,
    text: &str,
) -> Result<T, String> {
    let found = all.into_iter().find(|&choice| name(choice) == text);
    found.ok_or_else(|| format!("{text:?} is none of {}", all.map(name).join(", ")))
}
