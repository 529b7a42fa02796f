//! Values of arguments that commands share.

pub(crate) fn parse_seed(text: &str) -> Result<u64, String> {
    whole_number(text, 0, u64::MAX)
}

pub(crate) fn parse_threads(text: &str) -> Result<u16, String> {
    whole_number(text, 1, 1024)
}

pub(crate) fn whole_number<T>(text: &str, least: T, largest: T) -> Result<T, String>
where
    T: std::str::FromStr + std::fmt::Display + PartialOrd,
{
    text.parse()
        .ok()
        .filter(|number| (&least..=&largest).contains(&number))
        .ok_or_else(|| format!("choose a whole number from {least} to {largest}"))
}
