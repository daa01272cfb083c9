//! Packets by hand.

/// A packet with these variables.
pub fn packet(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
        block.extend_from_slice(&(text.len() as u16).to_le_bytes());
        block.extend_from_slice(text.as_bytes());
    }
    packet_of(&block)
}

/// A packet around these bytes.
pub fn packet_of(block: &[u8]) -> Vec<u8> {
    let [low, high] = u16::try_from(block.len()).unwrap().to_le_bytes();
    [&[0, low, high, 0], block].concat()
}
