"""Tables on the terminal, pictures, and a page that can be sent to a friend."""
