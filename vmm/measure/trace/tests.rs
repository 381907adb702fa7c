//! What was written is read again, and anything else is an error.

use proptest::prelude::*;

use super::*;

const HEADER: TraceHeader = TraceHeader { level: TraceLevel::Host, page_shift: 12 };

fn written(events: &[Event]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = TraceWriter::new(&mut bytes, HEADER).unwrap();
    events.iter().for_each(|event| writer.record(event).unwrap());
    writer.finish().unwrap();
    bytes
}

fn pages(text: &str) -> Result<Vec<u64>, String> {
    let trace = Trace::new(text.as_bytes()).map_err(|error| error.to_string())?;
    trace.map(|page| page.map(|(page, _)| page.number).map_err(|error| error.to_string())).collect()
}

fn event() -> impl Strategy<Value = Event> {
    let cause = prop_oneof![Just(Cause::Read), Just(Cause::Write), Just(Cause::Execute)];
    let source = prop::sample::select(&TraceSource::ALL[..]);
    let number = prop_oneof![0..100_u64, any::<u64>()];
    (any::<u64>(), cause, (0..3_u32, number), source, any::<u64>()).prop_map(
        |(time_ns, cause, (space, number), source, served_ns)| Event {
            time_ns,
            cause,
            page: TracePage { space, number },
            source,
            served_ns,
        },
    )
}

proptest! {
    #[test]
    fn what_was_written_is_read(events in prop::collection::vec(event(), 0..100)) {
        let bytes = written(&events);
        let reader = TraceReader::new(&bytes[..]).unwrap();
        prop_assert_eq!(reader.header(), HEADER);
        prop_assert_eq!(reader.collect::<Result<Vec<_>, _>>().unwrap(), events);
    }

    #[test]
    fn a_trace_cut_anywhere_is_found_out(events in prop::collection::vec(event(), 0..20), cut in any::<prop::sample::Index>()) {
        let bytes = written(&events);
        let cut = &bytes[..cut.index(bytes.len())];
        let read = TraceReader::new(cut).and_then(|reader| reader.collect::<Result<Vec<_>, _>>());
        prop_assert!(read.is_err());
    }

    #[test]
    fn any_bytes_are_read_to_an_end(magic in any::<bool>(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let header = if magic { written(&[])[..HEADER_BYTES].to_vec() } else { Vec::new() };
        let bytes = [header, bytes].concat();
        let read = Trace::new(&bytes[..]).map_or(0, Iterator::count);
        prop_assert!(read <= bytes.len());
    }

    #[test]
    fn any_text_of_numbers_is_read(numbers in prop::collection::vec(any::<u64>(), 0..50), gap in "[ ,\t]{0,2}(,|\r?\n|#[ -~]*\n)") {
        let words: Vec<_> = numbers.iter().map(u64::to_string).collect();
        prop_assert_eq!(pages(&words.join(&gap)), Ok(numbers));
    }
}

#[test]
fn an_event_takes_few_bytes() {
    let event = |n: u64| Event {
        time_ns: n * 30_000,
        cause: Cause::Read,
        page: TracePage { space: 1, number: 0x400 + n % 100 },
        source: TraceSource::Swap,
        served_ns: 20_000,
    };
    let events: Vec<_> = (0..1000).map(event).collect();
    assert!(written(&events).len() < 9 * events.len());
}

#[test]
fn what_is_wrong_with_a_text_is_named_with_its_line() {
    assert_eq!(pages("# a comment, with 7\n1, 2\r\n\n3 # 4\n"), Ok(vec![1, 2, 3]));
    let refused = |text: &str, line: u64, word: &str| {
        let error = pages(text).unwrap_err();
        assert!(error.starts_with(&format!("line {line}: {word:?} ")), "{error}");
    };
    refused("1\n2\nthree\n", 3, "three");
    refused("-1", 1, "-1");
    refused("18446744073709551616", 1, "18446744073709551616");
    refused(&"x".repeat(1 << 20), 1, &"x".repeat(20));
    assert!(pages("bananas").unwrap_err().starts_with("neither"));
}

#[test]
fn a_trace_of_another_version_or_with_more_after_its_end_is_refused() {
    let mut bytes = written(&[]);
    bytes.push(0);
    let more = TraceReader::new(&bytes[..]).unwrap().next().unwrap().unwrap_err();
    assert!(more.to_string().contains("more after the end"));
    bytes[MAGIC.len()] = VERSION + 1;
    assert!(matches!(TraceReader::new(&bytes[..]), Err(TraceError::Version(2))));
}
