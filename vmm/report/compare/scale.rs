//! A logarithmic axis of a plot: equal ratios are equally far apart.

/// Maps values onto a length.
pub struct Scale {
    low: f64,
    high: f64,
    start: f64,
    length: f64,
}

impl Scale {
    /// Fits all of `values`, which are above 0, between `start` and `start + length`, with some air.
    pub fn fit(values: impl Iterator<Item = f64>, start: f64, length: f64) -> Self {
        let values = values.filter(|value| *value > 0.0);
        let (low, high) =
            values.fold((f64::MAX, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = if low > high { (1.0, 1.0) } else { (low, high) };
        // At least a twentieth on each side, so that equal values do not fill the plot with their noise.
        let air = (high / low).powf(0.05).max(1.05);
        Self { low: low / air, high: high * air, start, length }
    }

    /// Where a value is.
    pub fn at(&self, value: f64) -> f64 {
        let part = (value.max(f64::MIN_POSITIVE) / self.low).ln() / (self.high / self.low).ln();
        self.start + part * self.length
    }

    /// Round values to be written at the axis: at least two, and few.
    pub fn ticks(&self) -> Vec<f64> {
        const STEPS: [&[f64]; 3] = [&[1.0], &[1.0, 2.0, 5.0], &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0]];
        let fitting = STEPS.iter().map(|steps| self.of(steps)).find(|ticks| ticks.len() >= 3);
        let ticks = fitting.unwrap_or_else(|| self.even());
        let every = ticks.len().div_ceil(5);
        ticks.into_iter().step_by(every).collect()
    }

    /// The multiples of powers of ten.
    fn of(&self, steps: &[f64]) -> Vec<f64> {
        let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let all = decades.flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
        all.filter(|tick| (self.low..=self.high).contains(tick)).collect()
    }

    /// Multiples of a round step, for a range that is less than a decade.
    fn even(&self) -> Vec<f64> {
        let wide = (self.high - self.low) / 4.0;
        let decade = 10_f64.powf(wide.log10().floor());
        let step =
            [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * decade >= wide).unwrap_or(10.0) * decade;
        let first = (self.low / step).ceil() as u64;
        (first..).map(|n| n as f64 * step).take_while(|tick| *tick <= self.high).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_values_are_inside_and_ticks_are_few_and_in_order(
            values in prop::collection::vec(1e-3..1e12_f64, 1..20)
        ) {
            let scale = Scale::fit(values.iter().copied(), 10.0, 100.0);
            for value in &values {
                prop_assert!((10.0..=110.0).contains(&scale.at(*value)));
            }
            let ticks = scale.ticks();
            prop_assert!((1..=5).contains(&ticks.len()), "{ticks:?}");
            prop_assert!(ticks.is_sorted());
            prop_assert!(ticks.iter().all(|tick| (9.99..=110.01).contains(&scale.at(*tick))), "{ticks:?}");
        }
    }
}
