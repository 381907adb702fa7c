//! Merge sort.

fn main() {
    println!("sort");
}
