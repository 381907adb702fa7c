//! The page that `bifold compare` writes, in a browser: at the width of a desk's screen and of a telephone's.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use bifold::compare::{Cell, Comparison, Header, Sample, Series, Unmeasured};
use bifold::report::ComparisonReport;
use serde_json::Value;

/// Widths in pixels: a desk's screen, a telephone's.
const WIDTHS: [u64; 2] = [1280, 390];

/// Measures the page in a frame of each width, and writes what it finds as JSON in place of this page's own
/// content.
const MEASURE: &str = include_str!("page/measure.html");

fn series(workload: &str, axes: &[(&str, &str)], around: u64) -> Series {
    let axes = axes.iter().map(|(axis, value)| ((*axis).to_owned(), (*value).to_owned())).collect();
    let sample = |n: u64| Sample {
        ns: around + around / 97 * (n * n % 11),
        operations: Some(65_536),
        guest_faults: Some(1053),
        ..Sample::default()
    };
    Series {
        cell: Cell { workload: workload.to_owned(), axes },
        samples: (0..15).map(sample).collect(),
        unmeasured: None,
    }
}

/// Two workloads of three sizes on three backings, with long values, far apart and nearly equal; one that
/// could not be done.
fn page() -> String {
    let mut all = Vec::new();
    for (workload, around) in [("chase", 21_000_000), ("matmul", 151_000_000)] {
        for (step, size) in ["256K", "4M", "64M"].into_iter().enumerate() {
            for (place, backing) in ["4k", "thp", "hugetlb-2m"].into_iter().enumerate() {
                let axes = [("backing", backing), ("size", size), ("guest-policy", "wsclock")];
                let slower = if workload == "chase" { 9_u64.pow(step as u32) } else { 1 };
                all.push(series(workload, &axes, around * slower + around / 50 * place as u64));
            }
        }
    }
    all[8].samples.clear();
    let reason = "guest RAM takes 32 huge pages of 2 MiB, and the host has 0 free: as root, echo 32 > \
                  /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
    all[8].unmeasured = Some(Unmeasured { refused: true, reason: reason.to_owned() });
    let baseline = [("backing", "4k".to_owned())];
    let header = Header {
        version: "0.1.0".to_owned(),
        bifold: String::new(),
        program: String::new(),
        command: Vec::new(),
        cpu: "A CPU with a rather long name @ 2.60GHz".to_owned(),
        kernel: "6.12.0-with-a-long-suffix-cloud-amd64".to_owned(),
        second_level: "EPT (kvm_intel)".to_owned(),
        ram: 64 << 20,
        swap: None,
    };
    let report = ComparisonReport { comparison: Comparison::new(all, &baseline), header, precision: 0.03 };
    let mut bytes = Vec::new();
    report.write_html(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// `CHROMIUM`, or the first that is on the PATH.
fn browser() -> PathBuf {
    if let Some(named) = env::var_os("CHROMIUM") {
        return named.into();
    }
    let names = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"];
    let path = env::var_os("PATH").unwrap_or_default();
    let mut files =
        names.iter().flat_map(|name| env::split_paths(&path).map(move |folder| folder.join(name)));
    files.find(|file| file.is_file()).unwrap_or_else(|| {
        panic!("this test needs a browser: apt-get install chromium-headless-shell, or set CHROMIUM to one's path")
    })
}

/// What the browser measures of the page, an object for each width, and what it said on its console.
fn measured(dark: bool) -> (Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("frames.html");
    let source = page().replace('&', "&amp;").replace('"', "&quot;");
    let frame = |width: u64| format!("<iframe width={width} height=3000 srcdoc=\"{source}\"></iframe>\n");
    fs::write(&file, MEASURE.replace("FRAMES", &WIDTHS.map(frame).concat())).unwrap();
    let mut command = Command::new(browser());
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        "--window-size=1400,3000",
    ]);
    // No name is looked up, and nothing is there to be found.
    command.args(["--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=10000", "--dump-dom"]);
    if dark {
        command.arg("--blink-settings=preferredColorScheme=0");
    }
    command.arg(format!("--user-data-dir={}", folder.path().join("profile").display()));
    let output = command.arg(format!("file://{}", file.display())).output().unwrap();
    let (page, errors) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    let body = page.rsplit_once("<body>").and_then(|(_, rest)| Some(rest.split_once("</body>")?.0));
    let body = body.unwrap_or_else(|| panic!("the browser shows no page: {page}\n{errors}"));
    let said = errors.lines().filter(|line| line.contains("CONSOLE") || line.contains("Uncaught"));
    (serde_json::from_str(body.trim()).unwrap(), said.collect())
}

#[test]
fn the_page_is_drawn_without_an_error_and_reads_well_on_a_desk_and_on_a_telephone() {
    let (found, said) = measured(false);
    assert_eq!(said, "", "the console stays empty");
    for width in WIDTHS {
        let page = &found[width.to_string()];
        assert_eq!(page["errors"], 0, "{width}: {page:#}");
        assert!(page["contentWidth"].as_u64().unwrap() <= width, "nothing is cut off on the right: {page:#}");
        assert_eq!(page["plots"], 6 * 2 + 2, "two of each work, one of each that grows: {page:#}");
        assert_eq!(page["marks"], 17 + 17 * 15 + 17, "each ratio, sample and median: {page:#}");
        assert_eq!(page["outside"], 0, "all marks and names are inside their plots: {page:#}");
        assert_eq!(page["overlapping"], 0, "no name is written over another: {page:#}");
        assert!(page["smallestText"].as_f64().unwrap() >= 11.0, "letters can be read: {page:#}");
        assert!(page["contrast"].as_f64().unwrap() >= 4.5, "as WCAG 2 wants it: {page:#}");
    }
    assert_eq!(found["1280"]["plotsBeside"], 2, "side by side where there is room: {found:#}");
    assert_eq!(found["390"]["plotsBeside"], 1, "{found:#}");
}

#[test]
fn the_page_reads_well_in_the_dark() {
    let (found, said) = measured(true);
    assert_eq!(said, "");
    for width in WIDTHS {
        let page = &found[width.to_string()];
        assert_eq!(page["dark"], true, "{page:#}");
        assert!(page["contrast"].as_f64().unwrap() >= 4.5, "{page:#}");
    }
}
