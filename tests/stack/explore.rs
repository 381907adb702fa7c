//! `bifold explore`: what each experiment measures has the properties that its idea claims, whatever the
//! host.

use serde_json::Value;

use crate::support::command::{bifold, run};
use crate::support::report;

/// Runs an experiment and returns its rows and its sentence.
#[track_caller]
fn explore(name: &str) -> (Vec<Value>, String) {
    let ended = run(&mut bifold(["explore", name, "--json", "-"])).succeeded();
    assert_eq!(ended.err, "");
    let finding = report::read(&ended.out);
    assert_eq!(finding["experiment"], name);
    (finding["rows"].as_array().unwrap().clone(), finding["sentence"].as_str().unwrap().to_owned())
}

/// The row in which `column` is `value`.
#[track_caller]
fn row<'a>(rows: &'a [Value], column: &str, value: &str) -> &'a Value {
    rows.iter().find(|row| row[column] == value).unwrap_or_else(|| panic!("no {column} {value} in {rows:#?}"))
}

#[track_caller]
fn number(row: &Value, column: &str) -> u64 {
    row[column].as_u64().unwrap_or_else(|| panic!("{column} is no number in {row}"))
}

#[test]
fn without_a_name_the_experiments_are_listed() {
    let ended = run(&mut bifold(["explore"])).succeeded();
    for name in ["isolation", "page-tables", "cow", "replacement", "thrashing", "overcommit"] {
        assert!(ended.out.lines().any(|line| line.starts_with(name)), "{name}: {}", ended.out);
    }
}

#[test]
fn each_experiment_has_its_page() {
    let ended = run(&mut bifold(["explore"])).succeeded();
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/explore");
    let index = std::fs::read_to_string(format!("{docs}/README.md")).unwrap();
    for name in
        ended.out.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split(' ').next())
    {
        let page = std::fs::read_to_string(format!("{docs}/{name}.md")).unwrap_or_default();
        assert!(
            page.contains(&format!("$ bifold explore {name}\n")),
            "docs/explore/{name}.md shows its output"
        );
        assert!(index.contains(&format!("({name}.md)")), "docs/explore/README.md lists {name}");
    }
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest() {
    run(&mut bifold(["explore", "cwo"])).refused(&["cwo", "did you mean \"cow\"?"]);
    run(&mut bifold(["explore", "--json", "x"])).refused(&["NAME"]);
    run(&mut bifold(["explore", "cow", "--csv", "/no/such/folder/x"]))
        .refused(&["/no/such/folder/x", "--csv"]);
}

#[test]
fn the_table_the_json_and_the_csv_tell_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let [json, csv] = ["finding.json", "finding.csv"].map(|name| folder.path().join(name));
    let mut command = bifold(["explore", "cow"]);
    let ended = run(command.arg("--json").arg(&json).arg("--csv").arg(&csv)).succeeded();
    let json = report::read(&std::fs::read_to_string(json).unwrap());
    let csv = std::fs::read_to_string(csv).unwrap();
    let rows = json["rows"].as_array().unwrap();
    assert_eq!(csv.lines().count(), rows.len() + 1, "{csv}");
    for (row, line) in rows.iter().zip(csv.lines().skip(1)) {
        let name = row["after_the_fork"].as_str().unwrap();
        let copied = number(row, "frames_copied").to_string();
        assert!(line.starts_with(name) && line.split(',').any(|cell| cell == copied), "{line}: {row}");
        let printed = ended.out.lines().find(|line| line.contains(name)).unwrap();
        assert!(printed.contains(&copied), "{printed}: {row}");
    }
    assert!(ended.out.contains(json["sentence"].as_str().unwrap()), "{}", ended.out);
}

#[test]
fn isolation_gives_each_process_its_own_frame_and_kills_only_the_wild_one() {
    let (rows, sentence) = explore("isolation");
    let mut frames: Vec<u64> = rows.iter().map(|row| number(row, "frame")).collect();
    frames.sort_unstable();
    frames.dedup();
    assert_eq!(frames.len(), 3, "{rows:#?}");
    assert!(rows.iter().all(|row| row["address"] == rows[0]["address"]), "{rows:#?}");
    assert!(rows.iter().all(|row| row["wrote"] == row["found_later"]), "{rows:#?}");
    let ended = |name| row(&rows, "process", name)["after_the_wild_write"].clone();
    assert_eq!(["first", "second"].map(ended), ["SIGSEGV", "exit status 0"]);
    assert!(sentence.contains("nobody else"), "{sentence}");
}

#[test]
fn page_tables_are_as_few_as_four_levels_allow() {
    let (rows, sentence) = explore("page-tables");
    for (apart, tables) in [("4 KiB", 3), ("2 MiB", 10), ("1 GiB", 17), ("1 TiB", 24)] {
        let row = row(&rows, "pages_apart_by", apart);
        assert_eq!((number(row, "tables_used"), number(row, "least_possible")), (tables, tables), "{row}");
        assert_eq!(number(row, "tables_left_after_unmap"), 0, "{row}");
    }
    assert!(sentence.contains("as few as four levels allow"), "{sentence}");
}

#[test]
fn huge_pages_take_one_fault_for_512_pages() {
    let (rows, sentence) = explore("huge-pages");
    let [small, huge] = ["4 KiB", "2 MiB"].map(|size| row(&rows, "guest_pages", size));
    assert_eq!([&small["huge"], &huge["huge"]].map(Value::as_f64), [Some(0.0), Some(1.0)], "{rows:#?}");
    assert_eq!((number(small, "faults"), number(huge, "faults")), (4096, 8));
    assert!(number(small, "table_pages") >= 8, "{small}");
    assert!(sentence.starts_with("Huge pages take 8 faults for 4 096"), "{sentence}");
}

#[test]
fn bits_are_set_cleared_and_acted_on() {
    let (rows, sentence) = explore("bits");
    let values = |bit: &str| {
        let some = rows.iter().filter(|row| row["bit"] == bit);
        some.map(|row| row["value"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for bit in ["accessed", "dirty"] {
        assert_eq!(values(bit), ["1", "0", "1"], "{bit}");
    }
    assert_eq!(values("present"), ["0", "1", "0"]);
    assert_eq!(values("writable"), ["0", "1", "SIGSEGV"]);
    assert_eq!(values("user"), ["allowed", "SIGSEGV"]);
    assert_eq!(values("no execute"), ["SIGSEGV", "allowed"]);
    assert!(sentence.starts_with("6 bits"), "{sentence}");
}

#[test]
fn the_tlb_is_measured_from_few_pages_to_many_in_both_sizes() {
    let (rows, _) = explore("tlb");
    let words: Vec<u64> = rows.iter().map(|row| number(row, "words")).collect();
    assert_eq!(words, [16, 32, 64, 128, 256, 512, 1024, 2048, 4096]);
    for row in &rows {
        for column in ["side_by_side_ns", "a_page_each_ns", "in_huge_pages_ns"] {
            assert!(number(row, column) > 0, "{row}");
        }
    }
}

#[test]
fn context_switches_are_counted_and_timed() {
    let (rows, sentence) = explore("context-switch");
    let without = rows.iter().filter(|row| row["pcid"] == "no").count();
    assert_eq!(without, 6, "without PCID they are measured anywhere: {rows:#?}");
    assert_eq!(rows.len() == without, sentence.ends_with("offers guests no PCID."), "{sentence}");
    for row in &rows {
        let alone = row["one_switch_ns"].is_null();
        assert_eq!(number(row, "switches") < 10, alone, "{row}");
        assert!(alone || number(row, "switches") >= 100, "there and back: {row}");
    }
    let alone = rows.iter().filter(|row| row["one_switch_ns"].is_null()).count();
    assert_eq!(alone * 3, rows.len(), "{rows:#?}");
}

#[test]
fn faults_are_minor_major_and_invalid_as_their_program_counts_them() {
    let (rows, _) = explore("faults");
    for (access, minor, major) in [
        ("first read of new memory", 64, 0),
        ("first write to it", 64, 0),
        ("written again", 0, 0),
        ("read after it went to swap", 0, 64),
        ("first read of a file's pages", 0, 64),
        ("read through a new mapping", 64, 0),
    ] {
        let row = row(&rows, "access", access);
        assert_eq!((number(row, "minor"), number(row, "major")), (minor, major), "{row}");
    }
    let wild = row(&rows, "access", "write where nothing is mapped");
    assert_eq!((number(wild, "invalid"), &wild["what_becomes_of_it"]), (1, &"SIGSEGV".into()));
}

#[test]
fn demand_paging_reads_a_small_part() {
    let (rows, sentence) = explore("demand-paging");
    let [lazy, eager] = [0, 1].map(|n| &rows[n]);
    assert!(number(lazy, "pages_read") <= 64, "{lazy}");
    assert!(number(eager, "pages_read") >= 2048, "{eager}");
    assert!(sentence.contains("what is not used is not loaded"), "{sentence}");
}

#[test]
fn recipes_are_zeros_files_and_swap() {
    let (rows, _) = explore("recipes");
    let new = row(&rows, "area", "new memory");
    let of = |column| number(new, column);
    assert_eq!([of("pages"), of("in_a_frame"), of("zeros"), of("slot_of_swap")], [64, 16, 32, 16], "{new}");
    let mapped = row(&rows, "area", "mapped file");
    assert!(number(mapped, "page_of_a_file") >= 32 && number(mapped, "in_a_frame") >= 1, "{mapped}");
    for row in &rows {
        let all = ["in_a_frame", "zeros", "page_of_a_file", "slot_of_swap"].map(|column| number(row, column));
        assert_eq!(all.iter().sum::<u64>(), number(row, "pages"), "{row}");
    }
}

#[test]
fn cow_copies_what_is_written_and_no_more() {
    let (rows, sentence) = explore("cow");
    let copied = |name| number(row(&rows, "after_the_fork", name), "frames_copied");
    for idle in ["the child only ends", "the child reads all of it", "the child runs a program"] {
        assert!(copied(idle) <= 16, "{idle}: {rows:#?}");
        assert!(number(row(&rows, "after_the_fork", idle), "frames_shared") >= 256, "{idle}: {rows:#?}");
    }
    assert!((64..96).contains(&copied("the child writes a quarter")), "{rows:#?}");
    assert!(copied("the child writes all of it") >= 256, "{rows:#?}");
    assert!(sentence.contains("copies next to nothing") && sentence.contains("never sees"), "{sentence}");
}

#[test]
fn mapped_files_get_what_is_written_to_shared_mappings_alone() {
    let (rows, _) = explore("mapped-files");
    let columns = ["seen_by_another_mapping", "seen_by_read", "in_the_host_file_at_the_end"];
    for (mapping, pages) in [("shared, then msync", 4), ("shared, then exit", 4), ("private, then exit", 0)] {
        let row = row(&rows, "mapping", mapping);
        assert_eq!(columns.map(|column| number(row, column)), [pages; 3], "{row}");
    }
    let synced = row(&rows, "mapping", "shared, then msync");
    assert_eq!(number(synced, "written_by_msync"), 4, "the dirty pages alone: {synced}");
}

#[test]
fn a_stack_grows_down_to_its_limit_and_takes_frames_where_it_is_touched() {
    let (rows, _) = explore("stack");
    let deep = row(&rows, "touched_below", "7 MiB");
    assert!(number(deep, "pages_of_the_stack") >= 7 * 256 && number(deep, "frames") <= 8, "{deep}");
    for below in ["9 MiB", "16 MiB"] {
        assert_eq!(row(&rows, "touched_below", below)["what_becomes_of_it"], "SIGSEGV");
    }
}

#[test]
fn a_layout_has_all_its_parts_and_holes_without_frames() {
    let (rows, _) = explore("layout");
    for part in ["code", "data", "heap", "mapped file", "stack"] {
        assert!(number(row(&rows, "what", part), "frames") > 0, "{part}: {rows:#?}");
    }
    let holes: Vec<&Value> = rows.iter().filter(|row| row["what"] == "hole").collect();
    assert!(holes.len() >= 2 && holes.iter().all(|hole| number(hole, "frames") == 0), "{rows:#?}");
}

#[test]
fn shared_memory_is_one_frame_and_private_memory_is_not() {
    let (rows, sentence) = explore("shared-memory");
    for page in &rows {
        let is_shared = page["page_by"] != "private memory, and fork";
        assert_eq!(page["parents_frame"] == page["childs_frame"], is_shared, "{page}");
        let word = if is_shared { "yes" } else { "no" };
        assert!(page["child_sees_parent"] == word && page["parent_sees_child"] == word, "{page}");
    }
    assert_eq!(rows.len(), 3);
    assert!(sentence.contains("wherever each has it"), "{sentence}");
}

#[test]
fn a_program_of_ten_times_ram_ends_right() {
    let (rows, sentence) = explore("swap");
    let pages = |what| number(row(&rows, "what", what), "pages");
    assert_eq!(pages("the program's memory"), 10 * pages("guest RAM"));
    assert_eq!(pages("found right in the end"), pages("the program's memory"));
    assert!(
        pages("brought back from swap") >= pages("the program's memory") - pages("guest RAM"),
        "{rows:#?}"
    );
    assert!(sentence.contains("every one of them was right"), "{sentence}");
}

#[test]
fn replacement_gives_the_figures_of_the_literature_and_none_is_better_than_opt() {
    let (rows, sentence) = explore("replacement");
    let offline = |policy| {
        let columns = ["belady_3_frames", "belady_4_frames", "textbook_3_frames"];
        columns.map(|column| number(row(&rows, "policy", policy), column))
    };
    assert_eq!(offline("fifo"), [9, 10, 15]);
    assert_eq!(offline("lru"), [10, 8, 12]);
    assert_eq!(offline("opt"), [7, 6, 9]);
    assert_eq!(offline("clock")[2], 14);
    let live: Vec<&Value> = rows.iter().filter(|row| !row["live_faults"].is_null()).collect();
    assert_eq!(live.len(), 6, "every policy that runs live");
    for row in live {
        assert!(number(row, "live_faults") >= number(row, "live_opt"), "{row}");
    }
    assert!(sentence.contains("With a fourth frame fifo"), "{sentence}");
}

#[test]
fn evictions_write_what_was_written_and_drop_the_rest() {
    let (rows, _) = explore("eviction");
    let part = |pass| {
        let row = row(&rows, "pass", pass);
        assert!(number(row, "evicted") >= 100, "{row}");
        number(row, "dirty_written_first") * 100 / number(row, "evicted")
    };
    assert!(part("memory is only read") < 20 && part("a file is read") < 20, "{rows:#?}");
    assert!(part("memory is written") > 50, "{rows:#?}");
}

#[test]
fn thrashing_begins_where_ram_no_longer_holds_what_is_used() {
    let (rows, sentence) = explore("thrashing");
    let [first, last] = [&rows[0], &rows[rows.len() - 1]];
    assert_eq!(number(first, "major_faults_a_second"), 0, "all fits: {first}");
    assert!(number(last, "major_faults_a_second") > 0, "{last}");
    assert!(number(last, "steps_a_second") < number(first, "steps_a_second"), "{rows:#?}");
    assert!(sentence.contains("by the estimate of the first one's working set"), "{sentence}");
}

#[test]
fn pages_or_processes_swapped_bring_back_the_right_ones() {
    let (rows, sentence) = explore("swapping");
    let [demand, controlled, whole] = ["demand paging", "and load control", "whole processes"]
        .map(|way| row(&rows, "what_comes_and_goes", way));
    assert!(rows.iter().all(|row| number(row, "wrong") == 0), "{rows:#?}");
    assert!(number(demand, "pages_in") > 0, "{rows:#?}");
    // Who pages depends on who runs when. Nobody is held back only where the processes hardly came into each other's way.
    assert!(
        number(controlled, "held_back") > 0
            || 2 * number(controlled, "pages_in") < number(demand, "pages_in"),
        "{rows:#?}"
    );
    // On a host so fast that each process is done within a few turns, they hardly thrash.
    if number(demand, "pages_in") > 1000 {
        assert!(number(controlled, "pages_in") < number(demand, "pages_in"), "{rows:#?}");
    }
    assert!(number(whole, "brought_back_whole") > 0, "{whole}");
    assert_eq!((number(demand, "brought_back_whole"), number(demand, "held_back")), (0, 0));
    assert!(sentence.ends_with("every answer is right."), "{sentence}");
}

#[test]
fn a_limit_makes_its_process_page_among_its_own_pages() {
    let (rows, sentence) = explore("limits");
    let limited = row(&rows, "process", "the one with a limit");
    assert!(number(limited, "resident_at_the_end") <= number(limited, "limit"), "{limited}");
    assert!(number(limited, "major") >= number(limited, "pages"), "{limited}");
    let free = row(&rows, "process", "its neighbour");
    assert_eq!((number(free, "major"), &free["resident_at_the_end"]), (0, &free["pages"]), "{free}");
    assert!(rows.iter().all(|row| number(row, "wrong") == 0), "{rows:#?}");
    assert!(sentence.contains("keeps to its limit"), "{sentence}");
}

#[test]
fn host_swap_serves_what_the_guest_believes_to_have() {
    let (rows, sentence) = explore("host-swap");
    let with = |store| rows.iter().filter(move |row| row["store"] == store);
    for store in ["memory", "memory in front of a file", "a file"] {
        assert_eq!(with(store).count(), 2, "in order and at random: {rows:#?}");
    }
    for row in &rows {
        assert_eq!((number(row, "guest_major"), number(row, "wrong")), (0, 0), "{row}");
        assert!(number(row, "memory") + number(row, "file") > 0 && number(row, "ahead") > 0, "{row}");
        assert!(number(row, "out_dirty") > 0 && number(row, "out_zero") > 0, "{row}");
    }
    assert!(with("memory").all(|row| number(row, "file") == 0), "{rows:#?}");
    assert!(with("memory in front of a file").all(|row| number(row, "file") > 0), "{rows:#?}");
    assert!(with("a file").all(|row| number(row, "memory") == 0), "{rows:#?}");
    assert!(sentence.starts_with("The guest has no major fault, as if all were in RAM"), "{sentence}");
}

#[test]
fn overcommitted_guests_all_finish_rightly_within_their_budgets() {
    let (rows, sentence) = explore("overcommit");
    let (guests, all) = (&rows[..3], row(&rows, "guest", "all together"));
    for guest in guests {
        assert!(number(guest, "ram") > number(guest, "budget"), "{guest}");
        assert!(number(guest, "resident_peak") <= number(guest, "budget"), "{guest}");
        assert!(number(guest, "host_minor") > 0, "{guest}");
        assert_eq!(number(guest, "wrong"), 0, "{guest}");
    }
    assert!(number(row(&rows, "guest", "more than its RAM"), "guest_major") > 0, "it pages, too: {rows:#?}");
    for column in ["ram", "budget", "host_major"] {
        let sum: u64 = guests.iter().map(|guest| number(guest, column)).sum();
        assert_eq!(number(all, column), sum, "{column}");
    }
    assert!(sentence.ends_with("all finished, and every page was right."), "{sentence}");
}

#[test]
fn fault_costs_are_measured_for_each_kind_at_both_levels() {
    let (rows, _) = explore("fault-costs");
    let kinds: Vec<_> =
        rows.iter().map(|row| ["level", "kind"].map(|column| row[column].as_str().unwrap())).collect();
    let count = |kind| kinds.iter().filter(|&&it| it == kind).count();
    assert_eq!(
        [["guest", "minor"], ["guest", "major"], ["host", "minor"], ["host", "major"]].map(count),
        [4, 2, 1, 1]
    );
    for row in &rows {
        assert!(number(row, "samples") >= 100 && number(row, "p50_ns") <= number(row, "p99_ns"), "{row}");
    }
}
