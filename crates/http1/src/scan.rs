//! Byte classes and the scanning of many bytes at once.
