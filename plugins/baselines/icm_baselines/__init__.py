"""What SICMH is compared with: other codecs behind the same contracts."""
