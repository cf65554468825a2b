"""Small values and locks that every layer may use: locks shared by processes, numbers
and time stamps as text, the address of a store.
"""
