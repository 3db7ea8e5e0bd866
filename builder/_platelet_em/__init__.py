"""The works behind `platelet_em`; everything public is exported there."""
