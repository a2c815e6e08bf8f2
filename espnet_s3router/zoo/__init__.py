"""Sharing of models: pack, open, upload. A pack is a folder or zip file in ESPnet's form that works on any machine."""
