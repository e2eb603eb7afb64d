//! Maps for what is held once per cluster and mostly at rest: sorted lists with little in reserve.
//!
//! The nodes of a tree are half empty when its keys come in order, and a list that doubles is half empty after it has.

use litemap::LiteMap;

/// A list that is full grows by such a part of its length, and by so many.
const GROWTH: (usize, usize) = (8, 2);

/// [`LiteMap::insert`] that keeps little in reserve.
pub fn insert<K: Ord, V>(map: &mut LiteMap<K, V>, key: K, value: V) -> Option<V> {
    let mut list = std::mem::take(map).into_tuple_vec();
    if list.len() == list.capacity() {
        let (part, more) = GROWTH;
        list.reserve_exact(list.len() / part + more);
    }
    *map = LiteMap::from_sorted_store_unchecked(list);
    map.insert(key, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inserted_is_found_and_little_is_in_reserve() {
        let mut map = LiteMap::new();
        for number in (0..1000_u32).rev() {
            assert_eq!(insert(&mut map, number * 7 % 1000, number), None);
        }
        assert_eq!(insert(&mut map, 500, 1), Some(500), "7 times 500, the rest by 1000");
        assert!(map.keys().copied().eq(0..1000));
        let list = map.into_tuple_vec();
        assert!(list.capacity() <= 1000 + 1000 / 8 + 2, "{}", list.capacity());
    }
}
